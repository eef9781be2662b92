//! What the senders of an attempt share: whose output it is, how far its end has come, and when there is more.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::watch;

use crate::attempt::Attempt;
use crate::node::Node;

/// Waits between two tries while a server does not answer.
pub(super) const BACK_OFF_MIN: Duration = Duration::from_millis(50);
pub(super) const BACK_OFF_MAX: Duration = Duration::from_secs(2);

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// The command runs.
    Live,
    /// The command has ended: what is there is all that comes.
    Drain,
    /// The metrics are through, and with them the last notices.
    Last,
}

/// What both senders need.
#[derive(Clone)]
pub(super) struct Context {
    pub node: Arc<Node>,
    pub attempt: Arc<Attempt>,
    pub changes: watch::Receiver<u64>,
    pub stage: watch::Receiver<Stage>,
    /// Up to where the standard output has been read for metrics: what lies before may be given back to the disk.
    pub metrics_read: Arc<AtomicU64>,
}

impl Context {
    /// The stage as it is now; changes are news again afterwards.
    pub fn look(&mut self) -> Stage {
        let stage = *self.stage.borrow_and_update();
        self.changes.borrow_and_update();
        stage
    }

    /// Waits until there may be something to do.
    pub async fn news(&mut self) {
        tokio::select! {
            changed = self.stage.changed() => if changed.is_err() { std::future::pending().await },
            changed = self.changes.changed() => if changed.is_err() { std::future::pending().await },
        }
    }
}
