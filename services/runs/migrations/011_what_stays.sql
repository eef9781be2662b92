-- The objects of versions of models: they stay, whatever becomes of the runs that made them.
CREATE TABLE kept_objects(sha256 TEXT PRIMARY KEY) WITHOUT ROWID;
-- Sweeps whose runs were to go: a run of one that comes late goes, too.
CREATE TABLE deleted_sweeps(workspace TEXT NOT NULL, sweep_id TEXT NOT NULL, PRIMARY KEY(workspace, sweep_id)) WITHOUT ROWID;
-- What a workspace has put by itself stays; of older builds everything that is no artifact was put so.
ALTER TABLE object_owners ADD COLUMN put BIGINT NOT NULL DEFAULT 0;
UPDATE object_owners SET put = 1
    WHERE sha256 NOT IN (SELECT sha256 FROM artifacts) AND sha256 NOT IN (SELECT sha256 FROM superseded_artifacts);
