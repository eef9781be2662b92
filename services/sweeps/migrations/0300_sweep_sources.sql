CREATE TABLE sweep_sources(source TEXT NOT NULL, sweep_id TEXT NOT NULL, PRIMARY KEY (source, sweep_id));
CREATE TABLE deleted_sources(source TEXT PRIMARY KEY);
