-- Where what carries the facts of a source goes on after a cursor, when that is no position: a hint, which is verified.
ALTER TABLE projection_cursor ADD COLUMN resume BIGINT NOT NULL DEFAULT 0;
