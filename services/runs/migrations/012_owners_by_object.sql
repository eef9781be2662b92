-- Who has an object is asked when it is released.
CREATE INDEX object_owners_by_object ON object_owners(sha256);
