-- Where the objects are, when that is no folder: whoever is configured otherwise has none of them.
CREATE TABLE object_store(id BIGINT PRIMARY KEY, url TEXT NOT NULL);
