//! The tokens and workspaces that exist: an in-memory projection of workspaces' facts, so that no request costs a call.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use contracts::Peer;
use contracts::feed::feed_service_client::FeedServiceClient;
use contracts::feed::{Fact, ReadRequest};
use contracts::workspaces::{TokenCreated, TokenRevoked, WorkspaceCreated, WorkspaceDeleted};
use jiff::Timestamp;
use prost::Message;
use runtime::Shutdown;
use tokio::sync::watch;

use super::principal::{Scope, UserToken};

type Hash = [u8; 32];

#[derive(Debug, Default)]
struct Table {
    source: String,
    position: i64,
    tokens: HashMap<Hash, UserToken>,
    hashes: HashMap<String, Hash>,
    workspaces: BTreeSet<String>,
    /// Those that are no more; their names are not given again.
    deleted: BTreeSet<String>,
}

impl Table {
    fn delete(&mut self, workspace: &str) {
        self.workspaces.remove(workspace);
        self.deleted.insert(workspace.to_owned());
    }
}

/// The projection. Until its first reading has reached the head, it is not ready.
#[derive(Debug, Default)]
pub struct Directory {
    table: RwLock<Table>,
    ready: AtomicBool,
    /// How many tokens were forgotten: open streams look whether theirs is among them.
    revocations: watch::Sender<u64>,
}

impl Directory {
    /// Whether everything that was recorded before the start is in.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// The living token with this hash.
    pub fn token(&self, hash: &Hash) -> Option<UserToken> {
        self.read().tokens.get(hash).cloned()
    }

    /// Whether a workspace of this name exists.
    pub fn has_workspace(&self, name: &str) -> bool {
        self.read().workspaces.contains(name)
    }

    /// The names of all workspaces. Who may know of which is the caller's to ask.
    pub fn workspaces(&self) -> Vec<String> {
        self.read().workspaces.iter().cloned().collect()
    }

    /// Whether there was a workspace of this name, which was deleted.
    pub fn was_deleted(&self, name: &str) -> bool {
        self.read().deleted.contains(name)
    }

    /// Takes a workspace in before its fact arrives: who made it may use it at once.
    pub fn add_workspace(&self, name: &str) {
        self.write().workspaces.insert(name.to_owned());
    }

    /// Forgets a workspace before the fact of its end arrives: nobody gets into it any more.
    pub fn remove_workspace(&self, name: &str) {
        self.write().delete(name);
    }

    /// Takes a token in before its fact arrives.
    pub fn add_token(&self, hash: Hash, token: UserToken) {
        add(&mut self.write(), hash, token);
    }

    /// Forgets a token before the fact of its end arrives.
    pub fn remove_token(&self, token_id: &str) {
        remove(&mut self.write(), token_id);
        self.revocations.send_modify(|count| *count += 1);
    }

    /// Comes back when the token is forgotten.
    pub async fn until_removed(&self, token_id: &str) {
        let mut revocations = self.revocations.subscribe();
        while self.read().hashes.contains_key(token_id) && revocations.changed().await.is_ok() {}
    }

    /// Reads workspaces' facts to the head, then follows them until shutdown.
    ///
    /// # Errors
    /// When the feed breaks off; the caller begins again, and what was read before is kept.
    pub async fn follow(&self, peer: Peer, shutdown: Shutdown) -> anyhow::Result<()> {
        for until_head in [true, false] {
            let mut client = FeedServiceClient::new(peer.clone());
            let (source, from) = { (self.read().source.clone(), self.read().position) };
            let service = "workspaces".to_owned();
            let request = ReadRequest { service, source, from, until_head, ..ReadRequest::default() };
            let opened =
                tokio::select! { opened = client.read(request) => opened, () = shutdown.requested() => return Ok(()) };
            if opened.as_ref().is_err_and(|status| status.code() == tonic::Code::FailedPrecondition) {
                // Another log, or one that was set back: what is known of it is read again from the beginning.
                *self.write() = Table::default();
            }
            let mut facts = opened?.into_inner();
            loop {
                let fact =
                    tokio::select! { fact = facts.message() => fact?, () = shutdown.requested() => return Ok(()) };
                match fact {
                    Some(fact) => self.apply(&fact)?,
                    None if until_head => break,
                    None => anyhow::bail!("the feed of workspaces ended"),
                }
            }
            self.ready.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Applies a fact; a second time it changes nothing.
    fn apply(&self, fact: &Fact) -> anyhow::Result<()> {
        if fact.r#type == "TokenRevoked" {
            self.remove_token(&TokenRevoked::decode(fact.payload.as_slice())?.token_id);
        }
        let mut table = self.write();
        if table.source != fact.source {
            let first = table.source.is_empty();
            // Another incarnation counts its positions anew: what is known must be read again from the beginning.
            *table = Table { source: fact.source.clone(), ..Table::default() };
            anyhow::ensure!(first, "workspaces is now {}; its facts are read again", fact.source);
        }
        match fact.r#type.as_str() {
            "WorkspaceCreated" => {
                table.workspaces.insert(WorkspaceCreated::decode(fact.payload.as_slice())?.name);
            }
            "WorkspaceDeleted" => {
                table.delete(&WorkspaceDeleted::decode(fact.payload.as_slice())?.name);
            }
            "TokenCreated" => {
                let created = TokenCreated::decode(fact.payload.as_slice())?;
                match (hash_of(&created.sha256), created.scope.parse::<Scope>()) {
                    (Some(hash), Ok(scope)) => {
                        let expires_at = expiry(created.expires_at_us)?;
                        let TokenCreated { token_id, name, workspace, endpoint, .. } = created;
                        add(&mut table, hash, UserToken { token_id, name, scope, workspace, endpoint, expires_at });
                    }
                    // Refusing one token is right; refusing all because of it is not.
                    _ => tracing::error!(
                        token = created.token_id,
                        scope = created.scope,
                        "this token cannot be understood"
                    ),
                }
            }
            _ => {}
        }
        table.position = table.position.max(fact.position);
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a token ends; 0 = never.
fn expiry(at_us: i64) -> anyhow::Result<Option<Timestamp>> {
    Ok(if at_us == 0 { None } else { Some(Timestamp::from_microsecond(at_us)?) })
}

fn hash_of(text: &str) -> Option<Hash> {
    hex::decode(text).ok()?.try_into().ok()
}

fn add(table: &mut Table, hash: Hash, token: UserToken) {
    table.hashes.insert(token.token_id.clone(), hash);
    table.tokens.insert(hash, token);
}

fn remove(table: &mut Table, token_id: &str) {
    if let Some(hash) = table.hashes.remove(token_id) {
        table.tokens.remove(&hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(position: i64, kind: &str, message: &impl Message) -> Fact {
        let (source, payload) = ("workspaces@1".to_owned(), message.encode_to_vec());
        Fact { source, position, r#type: kind.to_owned(), payload, ..Fact::default() }
    }

    #[test]
    fn a_revoked_token_is_forgotten_and_a_second_delivery_changes_nothing() {
        let directory = Directory::default();
        let created = TokenCreated {
            token_id: "ab".into(),
            sha256: "11".repeat(32),
            scope: "reader".into(),
            workspace: "lab".into(),
            ..TokenCreated::default()
        };
        for _ in 0..2 {
            directory.apply(&fact(1, "WorkspaceCreated", &WorkspaceCreated { name: "lab".into() })).unwrap();
            directory.apply(&fact(2, "TokenCreated", &created)).unwrap();
        }
        assert!(directory.has_workspace("lab"));
        assert_eq!(directory.token(&[0x11; 32]).unwrap().scope, Scope::Reader);
        directory.apply(&fact(3, "TokenRevoked", &TokenRevoked { token_id: "ab".into() })).unwrap();
        assert_eq!(directory.token(&[0x11; 32]), None);
    }

    #[test]
    fn a_restored_service_is_read_from_its_beginning() {
        let directory = Directory::default();
        directory.apply(&fact(9, "WorkspaceCreated", &WorkspaceCreated { name: "lab".into() })).unwrap();
        let other = Fact { source: "workspaces@2".into(), position: 12, ..Fact::default() };
        assert!(directory.apply(&other).is_err());
        assert_eq!(directory.read().position, 0);
        assert!(!directory.has_workspace("lab"));
    }
}
