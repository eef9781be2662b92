-- Runs that are nested in another one, with how many are above them; the view fills it with what was there before.
CREATE TABLE nested_runs(run BLOB PRIMARY KEY, parent BLOB NOT NULL, depth BIGINT NOT NULL) WITHOUT ROWID;
