-- Runs whose end a user has asked for: nothing new begins below them.
CREATE TABLE canceled_runs(run BLOB PRIMARY KEY) WITHOUT ROWID;
