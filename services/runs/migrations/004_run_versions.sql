-- Reported points move a run's version and nothing else: a small row of its own.
CREATE TABLE run_versions(run BLOB PRIMARY KEY, version BIGINT NOT NULL) WITHOUT ROWID;
