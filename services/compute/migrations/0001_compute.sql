CREATE TABLE clusters(workspace TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY(workspace, name)) WITHOUT ROWID;
CREATE TABLE jobs(
    job_id TEXT PRIMARY KEY, workspace TEXT NOT NULL, run_id TEXT NOT NULL, cluster TEXT NOT NULL, state TEXT NOT NULL,
    attempt INTEGER NOT NULL, node_id TEXT NOT NULL, position INTEGER NOT NULL, queued_at INTEGER NOT NULL,
    ending TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX jobs_by_run ON jobs(run_id);
CREATE INDEX jobs_by_workspace ON jobs(workspace, position);
CREATE INDEX jobs_live ON jobs(position) WHERE state <> 'ended';
CREATE TABLE placements(
    job_id TEXT NOT NULL, attempt INTEGER NOT NULL, position INTEGER NOT NULL, node_id TEXT NOT NULL, reason TEXT NOT NULL,
    placed_at INTEGER NOT NULL, PRIMARY KEY(job_id, attempt)) WITHOUT ROWID;
