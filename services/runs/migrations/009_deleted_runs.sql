-- Objects that a deleted run had named: they go when nothing else refers to them.
CREATE TABLE released_objects(sha256 TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE INDEX artifacts_by_object ON artifacts(sha256);
CREATE INDEX superseded_artifacts_by_object ON superseded_artifacts(sha256);
-- The code of jobs, which stays; the view fills it with what was there before.
CREATE TABLE code_objects(sha256 TEXT PRIMARY KEY) WITHOUT ROWID;
