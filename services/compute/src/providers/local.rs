//! Virtual nodes on this machine. A node is a process of our own agent in a session of its own, and a folder. It
//! outlives the server: the next one finds it by the pid file, and its agent dials again by itself.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use eventlog::BoxFuture;
use runtime::Stopwatch;
use tokio::sync::{broadcast, watch};
use vocabulary::{Clock, NodeId};

use super::process::{self, Identity};
use super::{NodeFailure, NodeOrder, Provider};
use crate::service::NodeWiring;

/// How long an agent that was told to leave may take; it gives its shims three seconds itself.
const LEAVE_WAIT: Duration = Duration::from_secs(5);
/// An agent that ends sooner than this after its start has not come up.
const QUICK_END: Duration = Duration::from_secs(1);
/// So many quick ends in a row, and the node is given up.
const QUICK_ENDS_MAX: u32 = 5;
/// The wait before an agent is started again, doubled with each quick end.
const RESTART_WAIT: Duration = Duration::from_millis(50);
/// Failures that wait for the scheduler to take them; a lost one is found by the boot's time limit.
const FAILURES_MAX: usize = 256;
/// Bytes of an agent's log that a failure is explained with.
const LOG_TAIL_BYTES: usize = 512;

/// See the module.
pub(crate) struct LocalProvider {
    inner: Arc<Inner>,
}

struct Inner {
    /// `DATA/nodes`.
    nodes: PathBuf,
    wiring: NodeWiring,
    clock: Arc<dyn Clock>,
    /// Nodes that are tended; the value turns true when the node is to go.
    going: Mutex<HashMap<NodeId, watch::Sender<bool>>>,
    failures: broadcast::Sender<NodeFailure>,
}

impl LocalProvider {
    pub fn new(data: &Path, wiring: NodeWiring, clock: Arc<dyn Clock>) -> Self {
        let (failures, _) = broadcast::channel(FAILURES_MAX);
        let inner = Inner { nodes: data.join("nodes"), wiring, clock, going: Mutex::default(), failures };
        Self { inner: Arc::new(inner) }
    }
}

impl Provider for LocalProvider {
    fn tend(&self, order: NodeOrder) {
        let mut going = self.inner.going();
        if going.contains_key(&order.node_id) {
            return;
        }
        let (sender, receiver) = watch::channel(false);
        going.insert(order.node_id, sender);
        tokio::spawn(Arc::clone(&self.inner).tend(order, receiver));
    }

    fn remove(&self, node_id: NodeId, told: bool) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async move {
            // Kept while it goes, so that nothing starts its agent again.
            self.inner.going().entry(node_id).or_insert_with(|| watch::Sender::new(false)).send_replace(true);
            self.inner.clear_away(node_id, told).await?;
            self.inner.going().remove(&node_id);
            Ok(())
        })
    }

    fn failures(&self) -> broadcast::Receiver<NodeFailure> {
        self.inner.failures.subscribe()
    }
}

/// An agent that runs: our child, or one that an earlier server started.
enum Agent {
    Child(Box<tokio::process::Child>),
    Adopted(Identity),
}

impl Agent {
    async fn ended(&mut self) -> io::Result<()> {
        match self {
            Self::Child(child) => child.wait().await.map(|_| ()),
            Self::Adopted(identity) => process::ended(*identity).await,
        }
    }
}

/// Waits until the node is to go.
async fn is_going(going: &watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = going.clone().wait_for(|going| *going).await;
}

impl Inner {
    fn going(&self) -> MutexGuard<'_, HashMap<NodeId, watch::Sender<bool>>> {
        // Whole after every statement that changes it.
        self.going.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self, node_id: NodeId) -> PathBuf {
        self.nodes.join(node_id.to_string())
    }

    async fn tend(self: Arc<Self>, order: NodeOrder, going: watch::Receiver<bool>) {
        let boot = Duration::from_micros((order.boot_us - self.clock.now_us()).max(0).unsigned_abs());
        tokio::select! { () = tokio::time::sleep(boot) => {}, () = is_going(&going) => return }
        let mut quick_ends = 0;
        loop {
            let started = Stopwatch::start();
            match self.agent(&order) {
                Ok(mut agent) => {
                    tokio::select! {
                        ended = agent.ended() => if let Err(error) = ended {
                            tracing::warn!(node.id = %order.node_id, "its agent cannot be watched: {error}");
                        },
                        () = is_going(&going) => {
                            // Waited for, so that it does not stay as a zombie.
                            let _ = agent.ended().await;
                            return;
                        }
                    }
                }
                Err(error) => tracing::error!(node.id = %order.node_id, "its agent cannot be started: {error:#}"),
            }
            quick_ends = if started.elapsed() < QUICK_END { quick_ends + 1 } else { 0 };
            if quick_ends >= QUICK_ENDS_MAX {
                let reason = format!("its agent ends at once: {}", self.log_tail(order.node_id));
                // Without a listener the boot's time limit finds it.
                let _ = self.failures.send(NodeFailure { node_id: order.node_id, reason });
                return;
            }
            let wait = RESTART_WAIT * 2u32.pow(quick_ends);
            tokio::select! { () = tokio::time::sleep(wait) => {}, () = is_going(&going) => return }
        }
    }

    /// The node's agent: the one that runs, or a new one.
    fn agent(&self, order: &NodeOrder) -> anyhow::Result<Agent> {
        let folder = self.folder(order.node_id);
        if let Some(identity) = Identity::read(&folder.join("agent.pid"))
            && identity.lives()
        {
            return Ok(Agent::Adopted(identity));
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .with_context(|| folder.display().to_string())?;
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(folder.join("agent.log"))?;
        let node = order.node_id.to_string();
        let mut command = tokio::process::Command::new(&self.wiring.executable);
        command
            .args(["agent", "--node", &node, "--folder"])
            .arg(&folder)
            .args(["--compute", &self.wiring.compute_address])
            // Not in argv, which every user of the machine can read.
            .env("TRIALOG_NODE_TOKEN", &order.token)
            .env("TRIALOG_NODE_ID", &node)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(false);
        process::in_own_session(&mut command);
        let child = command.spawn().with_context(|| self.wiring.executable.display().to_string())?;
        tracing::info!(node.id = node, cluster = order.cluster.name, "agent started");
        Ok(Agent::Child(Box::new(child)))
    }

    async fn clear_away(&self, node_id: NodeId, told: bool) -> anyhow::Result<()> {
        let folder = self.folder(node_id);
        if let Some(agent) = Identity::read(&folder.join("agent.pid")).filter(|agent| agent.lives()) {
            if told {
                let _ = tokio::time::timeout(LEAVE_WAIT, process::ended(agent)).await;
            }
            agent.kill();
        }
        let (path, executable) = (folder.clone(), self.wiring.executable.clone());
        tokio::task::spawn_blocking(move || {
            process::kill_node(&node_id.to_string(), &path, &executable)?;
            // What the attempts left: their outputs and logs are with runs. The agent's own log stays.
            match fs::remove_dir_all(path.join("jobs")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(node.id = %node_id, "its jobs' folders stay: {error}");
                }
                _ => {}
            }
            anyhow::Ok(())
        })
        .await?
    }

    fn log_tail(&self, node_id: NodeId) -> String {
        let text = fs::read(self.folder(node_id).join("agent.log")).unwrap_or_default();
        let tail = &text[text.len().saturating_sub(LOG_TAIL_BYTES)..];
        String::from_utf8_lossy(tail).trim().replace('\n', "; ")
    }
}
