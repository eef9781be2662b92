-- The objects of versions of models: they stay, whatever becomes of the runs that made them.
CREATE TABLE kept_objects(sha256 TEXT PRIMARY KEY) WITHOUT ROWID;
-- Sweeps whose runs were to go: a run of one that comes late goes, too.
CREATE TABLE deleted_sweeps(workspace TEXT NOT NULL, sweep_id TEXT NOT NULL, PRIMARY KEY(workspace, sweep_id)) WITHOUT ROWID;
