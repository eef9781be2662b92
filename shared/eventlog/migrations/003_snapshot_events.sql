-- The id of the event that a snapshot was made at: a log that was set back and has gone on since has another one there.
-- Snapshots without it are not read.
ALTER TABLE snapshots ADD COLUMN event_id BLOB;
