CREATE TABLE models_listed(
    workspace TEXT NOT NULL, name TEXT NOT NULL, archived INTEGER NOT NULL, PRIMARY KEY(workspace, name)) WITHOUT ROWID;
CREATE TABLE versions_by_id(
    version_id TEXT PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID;
