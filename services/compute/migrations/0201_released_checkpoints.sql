CREATE TABLE released_checkpoints(run_id TEXT PRIMARY KEY) WITHOUT ROWID;
