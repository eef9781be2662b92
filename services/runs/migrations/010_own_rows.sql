-- Rows hold our own types instead of messages; the views, which have new names, make them of the whole history.
DROP TABLE experiments;
CREATE TABLE experiments(
    workspace TEXT NOT NULL, id BIGINT NOT NULL, name TEXT NOT NULL, shown TEXT NOT NULL,
    PRIMARY KEY(workspace, id)) WITHOUT ROWID;
CREATE UNIQUE INDEX experiments_by_name ON experiments(workspace, name);
DROP TABLE runs;
CREATE TABLE runs(
    seq INTEGER PRIMARY KEY, run BLOB NOT NULL UNIQUE, workspace TEXT NOT NULL, experiment_id TEXT NOT NULL,
    parent TEXT NOT NULL, sweep_id TEXT NOT NULL, state TEXT NOT NULL, command_id BLOB NOT NULL, shown TEXT NOT NULL);
CREATE INDEX runs_by_workspace ON runs(workspace, seq);
CREATE INDEX runs_by_experiment ON runs(workspace, experiment_id, seq);
CREATE INDEX runs_by_parent ON runs(workspace, parent, seq) WHERE parent <> '';
CREATE INDEX runs_by_sweep ON runs(workspace, sweep_id, seq) WHERE sweep_id <> '';
CREATE INDEX runs_by_state ON runs(workspace, state, seq);
CREATE INDEX runs_by_command ON runs(command_id);
