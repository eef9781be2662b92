//! What can happen to a workspace.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A workspace came to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkspaceCreated {
    /// Its name, for good.
    pub name: String,
    /// Labels.
    pub tags: BTreeMap<String, String>,
    /// When.
    pub at: jiff::Timestamp,
}

/// A token was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenCreated {
    /// The public part of the token.
    pub token_id: String,
    /// SHA-256 of its text in lower-case hex.
    pub sha256: String,
    /// admin | owner | contributor | reader | scorer.
    pub scope: String,
    /// Empty for an admin.
    pub workspace: String,
    /// The endpoint of a scorer; empty = any.
    pub endpoint: String,
    /// What people call it.
    pub name: String,
    /// When.
    pub at: jiff::Timestamp,
}

/// A token is no longer good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenRevoked {
    /// Which.
    pub token_id: String,
    /// When.
    pub at: jiff::Timestamp,
}

vocabulary::stored_events! {
    /// What can happen to a workspace.
    pub enum WorkspaceEvent { WorkspaceCreated: 1, TokenCreated: 1, TokenRevoked: 1 }
}

#[cfg(test)]
mod tests {
    use vocabulary::StoredEvent;

    use super::WorkspaceEvent;

    #[test]
    fn every_released_event_is_still_read() {
        // An upgrade that cannot read an old event would lose a workspace or lock its users out.
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/events");
        let mut read = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let (kind, schema) = stem.split_once('.').unwrap();
            let data = std::fs::read_to_string(&path).unwrap();
            WorkspaceEvent::decode(kind, schema.parse().unwrap(), &data).unwrap();
            read += 1;
        }
        assert_eq!(read, 3);
    }
}
