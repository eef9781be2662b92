//! What an attempt says goes to runs: its metrics exactly once, its output as logs. Replicas' output goes to compute.
//!
//! The command writes into files, so nothing is lost while the agent is away, and the agent only remembers how far it
//! got.

mod lines;
mod logs;
mod mask;
mod metrics;

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rustix::fs::FallocateFlags;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::attempt::Attempt;
use crate::node::Node;
use crate::watch::Watched;

pub use mask::Mask;

/// Waits between two tries while a server does not answer.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
/// Bytes: holes in files are made in whole pages.
const PAGE: u64 = 4096;

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// The command runs.
    Live,
    /// The command has ended: what is there is all that comes.
    Drain,
    /// The metrics are through, and with them the last notices.
    Last,
}

/// The senders of an attempt; they stop when this is dropped.
pub struct Uplink {
    stage: watch::Sender<Stage>,
    metrics: JoinSet<()>,
    logs: JoinSet<()>,
}

/// What both senders need.
#[derive(Clone)]
struct Context {
    node: Arc<Node>,
    attempt: Arc<Attempt>,
    changes: watch::Receiver<u64>,
    stage: watch::Receiver<Stage>,
    /// Up to where the standard output has been read for metrics: what lies before may be given back to the disk.
    metrics_read: Arc<AtomicU64>,
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

impl Context {
    /// The stage as it is now; changes are news again afterwards.
    fn look(&mut self) -> Stage {
        let stage = *self.stage.borrow_and_update();
        self.changes.borrow_and_update();
        stage
    }

    /// Waits until there may be something to do.
    async fn news(&mut self) {
        tokio::select! {
            changed = self.stage.changed() => if changed.is_err() { std::future::pending().await },
            changed = self.changes.changed() => if changed.is_err() { std::future::pending().await },
        }
    }
}

/// Gives the front of a file back to the disk. Its length and all offsets stay; not every file system can do it.
pub fn free_front(path: &Path, length: u64) {
    let length = length / PAGE * PAGE;
    if length == 0 {
        return;
    }
    if let Ok(file) = OpenOptions::new().write(true).open(path) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _ = rustix::fs::fallocate(&file, flags, 0, length);
    }
}
