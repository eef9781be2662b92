//! What an attempt says goes to runs: its metrics exactly once, its output as logs. Replicas' output goes to compute.
//!
//! The command writes into files, so nothing is lost while the agent is away, and the agent only remembers how far it
//! got.

mod context;
mod lines;
mod logs;
mod mask;
mod metrics;

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::attempt::Attempt;
use crate::node::Node;
use crate::watch::Watched;

pub use mask::Mask;

use context::{Context, Stage};

/// The senders of an attempt; they stop when this is dropped.
pub struct Uplink {
    stage: watch::Sender<Stage>,
    metrics: JoinSet<()>,
    logs: JoinSet<()>,
}

impl Uplink {
    /// Begins, or goes on where an earlier agent has stopped.
    pub fn start(node: &Arc<Node>, attempt: &Arc<Attempt>, watched: &Watched) -> Self {
        let (stage, receiver) = watch::channel(Stage::Live);
        let context = Context {
            node: Arc::clone(node),
            attempt: Arc::clone(attempt),
            changes: watched.changes.clone(),
            stage: receiver,
            metrics_read: Arc::default(),
        };
        let (mut metrics, mut logs) = (JoinSet::new(), JoinSet::new());
        metrics.spawn(metrics::send(context.clone()));
        logs.spawn(logs::send(context));
        Self { stage, metrics, logs }
    }

    /// Sends what is left; returns when all of it is acknowledged.
    pub async fn finish(mut self) {
        self.stage.send_replace(Stage::Drain);
        while self.metrics.join_next().await.is_some() {}
        self.stage.send_replace(Stage::Last);
        while self.logs.join_next().await.is_some() {}
    }
}
