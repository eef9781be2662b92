//! What can happen to a workspace.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A workspace came to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkspaceCreated {
    /// Its name, for good.
    pub name: String,
    /// Labels.
    pub tags: BTreeMap<String, String>,
    /// Where it is meant to be; may be empty.
    pub region: String,
    /// When.
    pub at: jiff::Timestamp,
}

/// A workspace is gone. Its name is not given again: what was in it stays in the logs under this name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkspaceDeleted {
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
    /// Who it is: what is done with it is recorded as done by this name.
    pub name: String,
    /// From when on it is refused; `None` = never.
    pub expires_at: Option<jiff::Timestamp>,
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
    pub enum WorkspaceEvent {
        WorkspaceCreated: 2 upcast created, WorkspaceDeleted: 1, TokenCreated: 2 upcast token_created, TokenRevoked: 1,
    }
}

/// Schema 1 had no region.
fn created(event: &mut Value, _: i16) -> Result<(), String> {
    event["region"] = "".into();
    Ok(())
}

/// Schema 1 had no end.
fn token_created(event: &mut Value, _: i16) -> Result<(), String> {
    event["expires_at"] = Value::Null;
    Ok(())
}

#[cfg(test)]
mod tests {
    use testkit::StoredForms;

    use super::*;

    #[test]
    fn every_stored_form_means_what_it_meant() {
        // An upgrade that reads an old event as something else would lose a workspace or lock its users out.
        let at = "2026-11-01T10:00:00Z".parse().unwrap();
        let mut forms = StoredForms::of(env!("CARGO_MANIFEST_DIR"));
        let tags = [("team".to_owned(), "vision".to_owned())].into();
        let first = WorkspaceCreated { name: "default".into(), tags, region: String::new(), at };
        forms.is::<WorkspaceEvent>(1, first.clone());
        forms.is::<WorkspaceEvent>(2, WorkspaceCreated { region: "eu-west".into(), ..first });
        forms.is::<WorkspaceEvent>(1, WorkspaceDeleted { at });
        let created = TokenCreated {
            token_id: "ab12".into(),
            sha256: "00ff".into(),
            scope: "reader".into(),
            workspace: "default".into(),
            endpoint: String::new(),
            name: "ci".into(),
            expires_at: None,
            at,
        };
        forms.is::<WorkspaceEvent>(1, created.clone());
        let expires_at = Some("2027-11-01T10:00:00Z".parse().unwrap());
        forms.is::<WorkspaceEvent>(2, TokenCreated { expires_at, ..created });
        forms.is::<WorkspaceEvent>(1, TokenRevoked { token_id: "ab12".into(), at });
        forms.complete();
    }
}
