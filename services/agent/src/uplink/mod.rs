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

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::attempt::Attempt;
use crate::keep;
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
        let (sent, logged) = (context.clone(), context);
        metrics.spawn(async move {
            keep::until_done("metrics", &sent.attempt, || metrics::send(sent.clone())).await;
        });
        logs.spawn(async move {
            keep::until_done("logs", &logged.attempt, || logs::send(logged.clone())).await;
        });
        Self { stage, metrics, logs }
    }

    /// Sends what is left of the metrics; returns when all of them are acknowledged.
    ///
    /// # Errors
    /// When their sender is gone and has not said so.
    pub async fn finish_metrics(&mut self) -> anyhow::Result<()> {
        self.stage.send_replace(Stage::Drain);
        while let Some(ended) = self.metrics.join_next().await {
            ended.context("metrics")?;
        }
        Ok(())
    }

    /// Sends what is left; returns when all of it is acknowledged.
    ///
    /// # Errors
    /// When a sender is gone that has not said so.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        self.finish_metrics().await?;
        self.stage.send_replace(Stage::Last);
        while let Some(ended) = self.logs.join_next().await {
            ended.context("logs")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sender_that_is_gone_has_not_sent_everything() {
        // Its run would be told as completed, without what was not sent.
        for breaks in [Stage::Drain, Stage::Last] {
            let (stage, receiver) = watch::channel(Stage::Live);
            let sender = |ends: Stage| {
                let mut receiver = receiver.clone();
                async move {
                    receiver.wait_for(|stage| *stage == ends).await.unwrap();
                    assert_ne!(ends, breaks, "as it should");
                }
            };
            let (mut metrics, mut logs) = (JoinSet::new(), JoinSet::new());
            metrics.spawn(sender(Stage::Drain));
            logs.spawn(sender(Stage::Last));
            assert!(Uplink { stage, metrics, logs }.finish().await.is_err());
        }
    }
}
