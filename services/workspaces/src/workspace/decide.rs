//! What may happen to a workspace.

use std::collections::BTreeMap;

use vocabulary::{Decider, Problem};

use super::{TokenCreated, TokenRevoked, Workspace, WorkspaceCreated, WorkspaceDeleted, WorkspaceEvent};

/// What somebody wants of a workspace.
#[derive(Clone, Debug)]
pub enum Command {
    /// That it exists.
    Create {
        /// Its name.
        name: String,
        /// Labels, if it does not exist yet.
        tags: BTreeMap<String, String>,
        /// Where it is meant to be; empty: nothing is said of it.
        region: String,
        /// Now.
        at: jiff::Timestamp,
    },
    /// Its end, and that of its tokens. Nothing is in it.
    Delete {
        /// Its name.
        name: String,
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
    /// It exists, elsewhere.
    RegionStays {
        /// The workspace.
        name: String,
        /// Where it is.
        region: String,
    },
    /// There was one of this name.
    NameIsSpent(String),
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::WorkspaceAbsent(name) => Self::new(404, "NotFound", format!("workspace '{name}'")),
            Rejection::RegionStays { name, region } => {
                let detail = format!("the region of workspace '{name}' is '{region}' and stays so; leave it out");
                Self::conflict("Immutable", detail)
            }
            Rejection::NameIsSpent(name) => {
                let detail = format!(
                    "workspace '{name}' was deleted, and what was done in it is still known by its name; take another"
                );
                Self::conflict("NameIsSpent", detail)
            }
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
            Command::Create { name, .. } if self.deleted_at.is_some() => Err(Rejection::NameIsSpent(name.clone())),
            Command::Create { name, region, .. } if self.created_at.is_some() => {
                match region.is_empty() || *region == self.region {
                    true => Ok(Vec::new()),
                    false => Err(Rejection::RegionStays { name: name.clone(), region: self.region.clone() }),
                }
            }
            Command::Create { name, tags, region, at } => {
                let (name, tags, region) = (name.clone(), tags.clone(), region.clone());
                Ok(vec![WorkspaceCreated { name, tags, region, at: *at }.into()])
            }
            Command::Delete { .. } if self.deleted_at.is_some() => Ok(Vec::new()),
            Command::Delete { name, .. } if self.created_at.is_none() => Err(Rejection::WorkspaceAbsent(name.clone())),
            Command::Delete { at, .. } => {
                let living = self.tokens.iter().filter(|(_, token)| token.revoked_at.is_none());
                let ends = living.map(|(id, _)| TokenRevoked { token_id: id.clone(), at: *at }.into());
                Ok(ends.chain([WorkspaceDeleted { at: *at }.into()]).collect())
            }
            // Tokens of the installation need no workspace.
            Command::CreateToken(token) if !self.exists() && !token.workspace.is_empty() => {
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
        let create = Command::Create { name: "w1".into(), tags: BTreeMap::new(), region: String::new(), at: at() };
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

    #[test]
    fn a_deleted_workspace_takes_its_tokens_with_it_and_its_name_is_spent() {
        // Whoever makes another one of its name would see what was done in the first.
        let create = |region: &str| Command::Create {
            name: "w1".into(),
            tags: BTreeMap::new(),
            region: region.to_owned(),
            at: at(),
        };
        let delete = Command::Delete { name: "w1".into(), at: at() };
        assert_eq!(given(&[]).decide(&delete), Err(Rejection::WorkspaceAbsent("w1".into())));
        let mut events = given(&[]).decide(&create("eu")).unwrap();
        assert_eq!(given(&events).decide(&create("")), Ok(vec![]));
        let stays = Rejection::RegionStays { name: "w1".into(), region: "eu".into() };
        assert_eq!(given(&events).decide(&create("us")), Err(stays));
        let revoked = TokenRevoked { token_id: "ab12".into(), at: at() };
        events.extend([
            token("w1").into(),
            TokenCreated { token_id: "cd34".into(), ..token("w1") }.into(),
            revoked.into(),
        ]);
        let ended = given(&events).decide(&delete).unwrap();
        let expected: [WorkspaceEvent; 2] =
            [TokenRevoked { token_id: "cd34".into(), at: at() }.into(), WorkspaceDeleted { at: at() }.into()];
        assert_eq!(ended, expected);
        events.extend(ended);
        assert_eq!(given(&events).decide(&delete), Ok(vec![]));
        assert_eq!(given(&events).decide(&create("eu")), Err(Rejection::NameIsSpent("w1".into())));
        let refused = given(&events).decide(&Command::CreateToken(token("w1")));
        assert_eq!(refused, Err(Rejection::WorkspaceAbsent("w1".into())));
    }
}
