CREATE TABLE endpoints_listed(workspace TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY(workspace, name)) WITHOUT ROWID;
CREATE TABLE deployments_listed(
    workspace TEXT NOT NULL, endpoint TEXT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY(workspace, endpoint, name)) WITHOUT ROWID;
CREATE TABLE revisions(
    key INTEGER PRIMARY KEY, workspace TEXT NOT NULL, endpoint TEXT NOT NULL, deployment TEXT NOT NULL,
    revision INTEGER NOT NULL, model TEXT NOT NULL, model_version INTEGER NOT NULL, version_id TEXT NOT NULL,
    run_id TEXT NOT NULL, UNIQUE(workspace, endpoint, deployment, revision));
