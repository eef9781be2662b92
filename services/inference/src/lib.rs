//! The data plane of endpoints: takes scoring requests, chooses a deployment by weight, hands the request to one of its
//! replicas.
//!
//! Compute pushes the table of routes; an answer never waits for the control plane, and the last table stays in force
//! while compute is away. Invariants: a request goes to a ready replica only; it is tried a second time only when no
//! byte of an answer came, once at most, and not when it may not be repeated (`request_settings.idempotent`, or the
//! header `trialog-idempotent`); one that ended two replicas is refused for a while (`guard.rs`); the shares of
//! deployments that are not ready go to the ready ones in proportion; what waits and what is in flight is bounded.

mod choose;
mod counts;
mod failure;
mod follow;
mod frame;
mod guard;
mod http;
mod measures;
mod replica;
mod serve;
mod table;

use std::sync::Arc;

use actix_web::HttpRequest;
use arc_swap::ArcSwap;
use contracts::Peers;
use contracts::health::Family;
use runtime::{Shutdown, Task};
use tokio::sync::watch;
use vocabulary::{Clock, Entropy, Problem};

pub use http::configure;

/// Says whether a request may score at (workspace, endpoint).
pub type Authenticate = dyn Fn(&HttpRequest, &str, &str) -> Result<(), Problem> + Send + Sync;

/// What the router is built on.
#[derive(Clone)]
pub struct Dependencies {
    /// Compute sends the routes.
    pub peers: Peers,
    /// Request ids and draws.
    pub entropy: Arc<dyn Entropy>,
    /// How long a broken replica is spared.
    pub clock: Arc<dyn Clock>,
    /// The end.
    pub shutdown: Shutdown,
    /// Who may score.
    pub authenticate: Arc<Authenticate>,
}

/// The router. One a process; all HTTP workers share it.
pub struct Inference {
    dependencies: Dependencies,
    table: Arc<ArcSwap<table::Table>>,
    /// Tables that have come; 0 = none yet.
    generation: Arc<watch::Sender<u64>>,
}

impl Inference {
    /// A router without routes; [`Inference::tasks`] brings them.
    pub fn new(dependencies: Dependencies) -> Self {
        Self { dependencies, table: Arc::default(), generation: Arc::new(watch::Sender::new(0)) }
    }

    /// How many requests each endpoint has answered, and how long they took; one number for all without names.
    pub fn measure(&self, with_names: bool) -> Vec<Family> {
        measures::families(&self.table.load(), with_names)
    }

    /// Follows the routes.
    pub fn tasks(&self) -> Vec<Task> {
        let follower = self.follower();
        vec![Task::new("routes", move || follower.clone().follow())]
    }

    fn follower(&self) -> follow::Follower {
        follow::Follower {
            peers: self.dependencies.peers.clone(),
            shutdown: self.dependencies.shutdown.clone(),
            table: Arc::clone(&self.table),
            generation: Arc::clone(&self.generation),
        }
    }
}

#[cfg(test)]
mod tests;
