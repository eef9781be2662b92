CREATE TABLE sweep_names(workspace TEXT NOT NULL, name TEXT NOT NULL, sweep_id TEXT NOT NULL, PRIMARY KEY (workspace, name));

CREATE TABLE sweeps_listed(
    sweep_id TEXT PRIMARY KEY,
    command_id BLOB NOT NULL,
    workspace TEXT NOT NULL,
    position BIGINT NOT NULL,
    state TEXT NOT NULL,
    summary TEXT NOT NULL
);
CREATE INDEX sweeps_listed_by_age ON sweeps_listed(workspace, position);
CREATE INDEX sweeps_listed_by_state ON sweeps_listed(workspace, state, position);
CREATE INDEX sweeps_listed_by_command ON sweeps_listed(command_id);

CREATE TABLE sweep_stops(
    sweep_id TEXT NOT NULL, trial BIGINT NOT NULL, position BIGINT NOT NULL, PRIMARY KEY (sweep_id, trial)
);
