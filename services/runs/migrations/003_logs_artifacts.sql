CREATE TABLE log_chunks(
    id INTEGER PRIMARY KEY, run BLOB NOT NULL, attempt INTEGER NOT NULL, stream TEXT NOT NULL, start INTEGER NOT NULL,
    data BLOB NOT NULL);
CREATE INDEX log_chunks_by_run ON log_chunks(run, id);
CREATE TABLE log_ends(
    run BLOB NOT NULL, attempt INTEGER NOT NULL, stream TEXT NOT NULL, next_offset INTEGER NOT NULL,
    PRIMARY KEY(run, attempt, stream)) WITHOUT ROWID;
CREATE TABLE artifacts(
    run BLOB NOT NULL, path TEXT NOT NULL, sha256 TEXT NOT NULL, size_bytes INTEGER NOT NULL, attempt INTEGER NOT NULL,
    PRIMARY KEY(run, path)) WITHOUT ROWID;
