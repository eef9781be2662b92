-- late = 1: written before the end of an attempt that was over when they came. Shown as superseded, counted nowhere.
ALTER TABLE metric_batches ADD COLUMN late BIGINT NOT NULL DEFAULT 0;
-- Files of an attempt at whose path a later attempt has one.
CREATE TABLE superseded_artifacts(
    run BLOB NOT NULL, path TEXT NOT NULL, attempt BIGINT NOT NULL, sha256 TEXT NOT NULL, size_bytes BIGINT NOT NULL,
    PRIMARY KEY(run, path, attempt)) WITHOUT ROWID;
