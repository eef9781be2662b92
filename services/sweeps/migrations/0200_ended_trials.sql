CREATE TABLE ended_trials(
    sweep_id TEXT NOT NULL, state TEXT NOT NULL, count BIGINT NOT NULL, PRIMARY KEY(sweep_id, state));
