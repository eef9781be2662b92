//! The gateway's state, shared by all workers.

use std::sync::{Arc, OnceLock};

use actix_web::HttpRequest;
use contracts::Peers;
use contracts::health::Family;
use runtime::{Health, Shutdown, Task};
use serde::Serialize;
use utoipa::ToSchema;
use vocabulary::{Clock, Entropy, Problem};

use crate::access::{self, Directory, Principal, Scope};
use crate::measures::{self, Measured};
use crate::stream::Rendered;
use crate::telemetry;

/// What answers `/version`.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Version {
    /// The release, e.g. `0.1.0`.
    pub version: String,
    /// The version of the REST interface.
    pub api: String,
    /// The address under which users reach this server.
    pub url: String,
}

/// What the gateway is made of.
pub struct Dependencies {
    /// The services.
    pub peers: Peers,
    /// The time, for events.
    pub clock: Arc<dyn Clock>,
    /// Ids of requests and commands.
    pub entropy: Arc<dyn Entropy>,
    /// Ends tasks and open streams.
    pub shutdown: Shutdown,
    /// How the parts of this process are.
    pub health: Health,
    /// Seals run tokens.
    pub signing_key: [u8; 32],
    /// The address under which users reach this server, e.g. `http://127.0.0.1:8080`.
    pub public_url: String,
}

/// The front door.
pub struct Gateway {
    dependencies: Dependencies,
    directory: Arc<Directory>,
    rendered: Arc<Rendered>,
    measured: Measured,
    beside: OnceLock<Box<Beside>>,
}

/// What somebody else in this process measures; with the names of things of workspaces, or without.
type Beside = dyn Fn(bool) -> Vec<Family> + Send + Sync;

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The signing key stays out.
        write!(f, "Gateway({})", self.dependencies.public_url)
    }
}

impl Gateway {
    /// A gateway that has read no tokens yet: run its [`Gateway::tasks`].
    pub fn new(dependencies: Dependencies) -> Self {
        Self {
            dependencies,
            directory: Arc::default(),
            rendered: Arc::default(),
            measured: Measured::default(),
            beside: OnceLock::new(),
        }
    }

    /// What must run beside the routes: the projection of tokens, and the upkeep of counters.
    pub fn tasks(&self) -> Vec<Task> {
        let (directory, peer) = (Arc::clone(&self.directory), self.dependencies.peers.workspaces.clone());
        let shutdown = self.dependencies.shutdown.clone();
        let until = shutdown.clone();
        let tokens = Task::new("tokens", move || {
            let (directory, peer, shutdown) = (Arc::clone(&directory), peer.clone(), shutdown.clone());
            async move { directory.follow(peer, shutdown).await }
        });
        let counters = Task::new("counters", move || {
            let until = until.clone();
            async move {
                telemetry::fold(until).await;
                Ok(())
            }
        });
        vec![tokens, counters]
    }

    /// Who sent the request. Routes outside of this crate (scoring) use it too.
    ///
    /// # Errors
    /// 401 without a good token, 503 while the tokens are still being read.
    pub fn authenticate(&self, request: &HttpRequest) -> Result<Principal, Problem> {
        access::authenticate(request, &self.directory, &self.dependencies.signing_key, self.clock().now())
    }

    /// Whether the sender may score this endpoint: what scoring routes ask before anything else.
    ///
    /// # Errors
    /// 401 and 503 as in [`Gateway::authenticate`], 404 for another workspace, 403 when the scope does not suffice.
    pub fn authorize_scoring(&self, request: &HttpRequest, workspace: &str, endpoint: &str) -> Result<(), Problem> {
        self.authenticate(request)?.may_score(workspace, endpoint)
    }

    /// Comes back when the sender's token ends: what streams that go on for long wait for beside their own end. A
    /// user's ends with its revocation or its time, a run's when another attempt has taken over.
    pub fn token_end(&self, principal: &Principal) -> impl Future<Output = ()> + use<> {
        let (directory, peers) = (Arc::clone(&self.directory), self.dependencies.peers.clone());
        let (principal, clock) = (principal.clone(), Arc::clone(&self.dependencies.clock));
        async move {
            match &principal {
                Principal::User(token) => tokio::select! {
                    () = directory.until_removed(&token.token_id) => {}
                    () = access::until_expired(token, clock.as_ref()) => {}
                },
                Principal::Run(token) => access::until_superseded(&peers, token).await,
            }
        }
    }

    /// Shows on `/metrics` what is measured by somebody else in this process. The first call counts.
    pub fn also_measure(&self, beside: impl Fn(bool) -> Vec<Family> + Send + Sync + 'static) {
        let _ = self.beside.set(Box::new(beside));
    }

    /// The page `/metrics`. The names of things of workspaces are only for who may see all workspaces.
    pub(crate) async fn metrics(&self, request: &HttpRequest) -> String {
        let with_names = self.authenticate(request).is_ok_and(|sender| sender.require(Scope::Admin).is_ok());
        let own = telemetry::prometheus();
        own.run_upkeep();
        let mut families = self.beside.get().map(|beside| beside(with_names)).unwrap_or_default();
        families.extend(self.measured.of(self.peers()).await.iter().cloned());
        own.render() + &measures::render(&measures::merged(families))
    }

    /// The tokens and workspaces that exist.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Facts as they were sent lately.
    pub(crate) fn rendered(&self) -> Arc<Rendered> {
        Arc::clone(&self.rendered)
    }

    /// The services.
    pub fn peers(&self) -> &Peers {
        &self.dependencies.peers
    }

    /// The time.
    pub fn clock(&self) -> &dyn Clock {
        self.dependencies.clock.as_ref()
    }

    /// Where ids come from.
    pub fn entropy(&self) -> &dyn Entropy {
        self.dependencies.entropy.as_ref()
    }

    /// The process's end.
    pub fn shutdown(&self) -> &Shutdown {
        &self.dependencies.shutdown
    }

    /// How the parts of this process are.
    pub fn health(&self) -> &Health {
        &self.dependencies.health
    }

    /// The address under which users reach this server.
    pub fn public_url(&self) -> &str {
        self.dependencies.public_url.trim_end_matches('/')
    }

    /// What answers `/version`.
    pub fn version(&self) -> Version {
        let (version, api) = (env!("CARGO_PKG_VERSION").to_owned(), "v1".to_owned());
        Version { version, api, url: self.public_url().to_owned() }
    }
}
