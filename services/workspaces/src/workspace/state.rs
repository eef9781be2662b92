//! The state of a workspace.
//!
//! ```text
//! absent -> exists -> deleted         token: absent -> good -> revoked, or past its `expires_at`
//! ```

use std::collections::BTreeMap;

use super::{TokenCreated, WorkspaceEvent};

/// A token as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// How it was made.
    pub created: TokenCreated,
    /// When it stopped being good.
    pub revoked_at: Option<jiff::Timestamp>,
}

/// A workspace as it stands; `created_at` is `None` before the first event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workspace {
    /// Its name.
    pub name: String,
    /// Labels.
    pub tags: BTreeMap<String, String>,
    /// Where it is meant to be.
    pub region: String,
    /// When it came to be.
    pub created_at: Option<jiff::Timestamp>,
    /// When it ended.
    pub deleted_at: Option<jiff::Timestamp>,
    /// By id.
    pub tokens: BTreeMap<String, Token>,
}

impl Workspace {
    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.created_at.is_some() && self.deleted_at.is_none()
    }

    pub(super) fn take(&mut self, event: &WorkspaceEvent) {
        match event {
            WorkspaceEvent::WorkspaceCreated(event) => {
                self.name.clone_from(&event.name);
                self.tags.clone_from(&event.tags);
                self.region.clone_from(&event.region);
                self.created_at = Some(event.at);
            }
            WorkspaceEvent::WorkspaceDeleted(event) => self.deleted_at = Some(event.at),
            WorkspaceEvent::TokenCreated(event) => {
                self.tokens.insert(event.token_id.clone(), Token { created: event.clone(), revoked_at: None });
            }
            WorkspaceEvent::TokenRevoked(event) => {
                if let Some(token) = self.tokens.get_mut(&event.token_id) {
                    token.revoked_at = Some(event.at);
                }
            }
        }
    }
}
