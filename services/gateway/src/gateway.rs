//! The gateway's state, shared by all workers.

use std::sync::Arc;

use actix_web::HttpRequest;
use contracts::Peers;
use runtime::{Shutdown, Task};
use serde::Serialize;
use utoipa::ToSchema;
use vocabulary::{Clock, Entropy, Problem};

use crate::access::{self, Directory, Principal};

/// What answers `/version`.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Version {
    /// The release, e.g. `0.1.0`.
    pub version: String,
    /// The commit that it was built from; empty when unknown.
    pub commit: String,
    /// The address under which users reach this server.
    #[serde(skip_deserializing)]
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
    /// Seals run tokens.
    pub signing_key: [u8; 32],
    /// The address under which users reach this server, e.g. `http://127.0.0.1:8080`.
    pub public_url: String,
    /// The release and the commit.
    pub version: Version,
}

/// The front door.
pub struct Gateway {
    dependencies: Dependencies,
    directory: Arc<Directory>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The signing key stays out.
        write!(f, "Gateway({})", self.dependencies.public_url)
    }
}

impl Gateway {
    /// A gateway that has read no tokens yet: run its [`Gateway::tasks`].
    pub fn new(dependencies: Dependencies) -> Self {
        Self { dependencies, directory: Arc::new(Directory::default()) }
    }

    /// What must run beside the routes: the projection of tokens.
    pub fn tasks(&self) -> Vec<Task> {
        let (directory, peer) = (Arc::clone(&self.directory), self.dependencies.peers.workspaces.clone());
        let shutdown = self.dependencies.shutdown.clone();
        vec![Task::new("gateway tokens", move || {
            let (directory, peer, shutdown) = (Arc::clone(&directory), peer.clone(), shutdown.clone());
            async move { directory.follow(peer, shutdown).await }
        })]
    }

    /// Who sent the request. Routes outside of this crate (scoring) use it too.
    ///
    /// # Errors
    /// 401 without a good token, 503 while the tokens are still being read.
    pub fn authenticate(&self, request: &HttpRequest) -> Result<Principal, Problem> {
        access::authenticate(request, &self.directory, &self.dependencies.signing_key)
    }

    /// The tokens and workspaces that exist.
    pub fn directory(&self) -> &Directory {
        &self.directory
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

    /// The address under which users reach this server.
    pub fn public_url(&self) -> &str {
        self.dependencies.public_url.trim_end_matches('/')
    }

    /// What answers `/version`.
    pub fn version(&self) -> Version {
        Version { url: self.public_url().to_owned(), ..self.dependencies.version.clone() }
    }
}
