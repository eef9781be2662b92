-- Which workspaces have an object: who does not have it is told that it is not there.
CREATE TABLE object_owners(
    workspace TEXT NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY(workspace, sha256)) WITHOUT ROWID;
-- Artifacts that were recorded before. The code of jobs comes from the history of the runs, by the view.
INSERT INTO object_owners(workspace, sha256)
    SELECT DISTINCT runs.workspace, artifacts.sha256 FROM artifacts JOIN runs ON runs.run = artifacts.run WHERE true
    ON CONFLICT DO NOTHING;
