//! What may happen to a workspace.

use std::collections::BTreeMap;

use vocabulary::{Decider, Problem};

use super::{TokenCreated, TokenRevoked, Workspace, WorkspaceCreated, WorkspaceEvent};

/// What somebody wants of a workspace.
#[derive(Clone, Debug)]
pub enum Command {
    /// That it exists.
    Create {
        /// Its name.
        name: String,
        /// Labels, if it does not exist yet.
        tags: BTreeMap<String, String>,
        /// Now.
        at: jiff::Timestamp,
    },
    /// A token, already drawn.
    CreateToken(TokenCreated),
    /// The end of a token.
    RevokeToken {
        /// Which.
        token_id: String,
        /// Now.
        at: jiff::Timestamp,
    },
}

/// Why it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The workspace does not exist.
    WorkspaceAbsent(String),
    /// The token does not exist.
    TokenAbsent(String),
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::WorkspaceAbsent(name) => Self::new(404, "NotFound", format!("workspace '{name}'")),
            Rejection::TokenAbsent(id) => Self::new(404, "NotFound", format!("token '{id}' in this workspace")),
        }
    }
}

impl Decider for Workspace {
    type Command = Command;
    type Event = WorkspaceEvent;
    type Rejection = Rejection;

    fn decide(&self, command: &Command) -> Result<Vec<WorkspaceEvent>, Rejection> {
        match command {
            Command::Create { .. } if self.created_at.is_some() => Ok(Vec::new()),
            Command::Create { name, tags, at } => {
                Ok(vec![WorkspaceCreated { name: name.clone(), tags: tags.clone(), at: *at }.into()])
            }
            // Tokens of the installation need no workspace.
            Command::CreateToken(token) if self.created_at.is_none() && !token.workspace.is_empty() => {
                Err(Rejection::WorkspaceAbsent(token.workspace.clone()))
            }
            Command::CreateToken(token) if self.tokens.contains_key(&token.token_id) => Ok(Vec::new()),
            Command::CreateToken(token) => Ok(vec![token.clone().into()]),
            Command::RevokeToken { token_id, at } => match self.tokens.get(token_id) {
                None => Err(Rejection::TokenAbsent(token_id.clone())),
                Some(token) if token.revoked_at.is_some() => Ok(Vec::new()),
                Some(_) => Ok(vec![TokenRevoked { token_id: token_id.clone(), at: *at }.into()]),
            },
        }
    }

    fn evolve(&mut self, event: &WorkspaceEvent) {
        self.take(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> jiff::Timestamp {
        "2026-11-01T10:00:00Z".parse().unwrap()
    }
    fn token(workspace: &str) -> TokenCreated {
        TokenCreated {
            token_id: "ab12".into(),
            sha256: "00".into(),
            scope: "reader".into(),
            workspace: workspace.into(),
            endpoint: String::new(),
            name: "ci".into(),
            expires_at: None,
            at: at(),
        }
    }
    fn given(events: &[WorkspaceEvent]) -> Workspace {
        let mut state = Workspace::default();
        events.iter().for_each(|event| state.evolve(event));
        state
    }

    #[test]
    fn creating_twice_is_a_success_without_events() {
        // A provisioning script that runs twice must not fail.
        let create = Command::Create { name: "w1".into(), tags: BTreeMap::new(), at: at() };
        let events = given(&[]).decide(&create).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(given(&events).decide(&create), Ok(vec![]));
    }

    #[test]
    fn a_token_needs_its_workspace_and_is_revoked_once() {
        // A revoked token must stay revoked, and revoking again must not fail.
        assert_eq!(given(&[]).decide(&Command::CreateToken(token("w1"))), Err(Rejection::WorkspaceAbsent("w1".into())));
        assert!(given(&[]).decide(&Command::CreateToken(token(""))).is_ok());
        let revoke = Command::RevokeToken { token_id: "ab12".into(), at: at() };
        assert_eq!(given(&[]).decide(&revoke), Err(Rejection::TokenAbsent("ab12".into())));
        let made = given(&[token("").into()]);
        let events = made.decide(&revoke).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(given(&[token("").into(), events[0].clone()]).decide(&revoke), Ok(vec![]));
    }
}
