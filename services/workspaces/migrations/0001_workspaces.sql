CREATE TABLE workspaces_listed(name TEXT PRIMARY KEY, created_at BIGINT NOT NULL);
