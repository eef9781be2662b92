-- One row a request: the points of all its keys, encoded, with a checksum.
CREATE TABLE metric_batches(id INTEGER PRIMARY KEY, run BLOB NOT NULL, attempt INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX metric_batches_by_run ON metric_batches(run, id);
CREATE TABLE metric_writers(
    run BLOB NOT NULL, writer TEXT NOT NULL, last_sequence INTEGER NOT NULL, PRIMARY KEY(run, writer)) WITHOUT ROWID;
-- bits are those of the double at the greatest (step, timestamp).
-- exact says that no point can be there twice or be superseded.
CREATE TABLE metric_keys(
    run BLOB NOT NULL, name TEXT NOT NULL, count INTEGER NOT NULL, attempt INTEGER NOT NULL,
    first_step INTEGER NOT NULL, first_timestamp INTEGER NOT NULL, step INTEGER NOT NULL, timestamp INTEGER NOT NULL,
    bits INTEGER NOT NULL, low REAL, high REAL, exact INTEGER NOT NULL, PRIMARY KEY(run, name)) WITHOUT ROWID;
-- Attempts after the first supersede what earlier ones reported from this step on.
CREATE TABLE metric_restarts(
    run BLOB NOT NULL, name TEXT NOT NULL, attempt INTEGER NOT NULL, least_step INTEGER NOT NULL,
    PRIMARY KEY(run, name, attempt)) WITHOUT ROWID;
