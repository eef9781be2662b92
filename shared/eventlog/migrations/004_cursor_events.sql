-- Which event a cursor stands at: in a log that was set back and has grown again it is another one.
ALTER TABLE projection_cursor ADD COLUMN event_id BLOB;
