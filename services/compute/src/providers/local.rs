//! Virtual nodes on this machine. A node is a process of our own agent in a session of its own, and a folder. It
//! outlives the server: the next one finds it by the pid file, and its agent dials again by itself.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use eventlog::BoxFuture;
use runtime::process::Identity;
use runtime::{Backoff, Stopwatch};
use tokio::sync::{broadcast, watch};
use vocabulary::{Clock, NodeId};

use super::process;
use super::{AgentIs, Capabilities, FailureCause, NodeEvent, NodeOrder, OrderedNode, Provider, lives};
use crate::cluster::{self, LocalSettings, VmPriority};
use crate::job::micros;
use crate::wiring::NodeWiring;

/// How long an agent that was told to leave may take; it gives its shims three seconds itself.
const LEAVE_WAIT: Duration = Duration::from_secs(5);
/// An agent that ends sooner than this after its start has not come up.
const QUICK_END: Duration = Duration::from_secs(1);
/// So many quick ends in a row, and the node is given up.
const QUICK_ENDS_MAX: u32 = 5;
/// The wait before an agent is started again, doubled with each quick end.
const RESTART_WAIT: Duration = Duration::from_millis(50);
/// Waits before a notice is given once more: whoever was to record it may have been unable to.
const NOTICE_AGAIN_MIN: Duration = Duration::from_millis(500);
const NOTICE_AGAIN_MAX: Duration = Duration::from_secs(10);
/// How long an agent may take to hand over what its halted node has before another is tried in its place; doubled each
/// time, since there may be much of it.
const COLLECT_PATIENCE: Duration = Duration::from_secs(60);
const COLLECT_PATIENCE_MAX: Duration = Duration::from_secs(3600);
/// Events that wait for the engine to take them; when it misses some, it adopts all nodes anew.
const EVENTS_MAX: usize = 1024;
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
    /// Nodes that are tended, and what has become of each.
    tended: Mutex<HashMap<NodeId, watch::Sender<Fate>>>,
    /// Halted nodes of which something is not with runs yet.
    collecting: Mutex<HashMap<NodeId, watch::Receiver<()>>>,
    /// Nodes that were reported ready.
    up: Mutex<HashSet<NodeId>>,
    events: broadcast::Sender<NodeEvent>,
}

/// What is known of a node that is tended.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    /// It is to go.
    going: bool,
    /// When its agent connected first, in microseconds since 1970.
    connected_us: Option<i64>,
}

impl LocalProvider {
    pub fn new(data: &Path, wiring: NodeWiring, clock: Arc<dyn Clock>) -> Self {
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let inner = Inner {
            nodes: data.join("nodes"),
            wiring,
            clock,
            tended: Mutex::default(),
            collecting: Mutex::default(),
            up: Mutex::default(),
            events,
        };
        Self { inner: Arc::new(inner) }
    }
}

impl Drop for LocalProvider {
    /// Nodes stay as they are; only this process looks after them no more.
    fn drop(&mut self) {
        self.inner.tended().clear();
    }
}

/// What a cluster asks of this provider.
fn settings_of(settings: &cluster::Provider) -> &LocalSettings {
    match settings {
        cluster::Provider::Local(settings) => settings,
    }
}

/// From the order to the start of the agent.
fn boot_delay(settings: &LocalSettings) -> Duration {
    Duration::try_from_secs_f64(settings.boot_seconds * settings.time_scale).unwrap_or(Duration::MAX)
}

/// What the nodes of an order have in common.
#[derive(Clone)]
struct Terms {
    tier: VmPriority,
    settings: LocalSettings,
    /// When they are up, in microseconds since 1970.
    up_us: i64,
}

impl Provider for LocalProvider {
    fn capabilities(&self, settings: &cluster::Provider) -> Capabilities {
        let settings = settings_of(settings);
        Capabilities {
            up_within: boot_delay(settings),
            notice: Duration::try_from_secs_f64(settings.notice_seconds).unwrap_or_default(),
            nodes_per_order_max: usize::MAX,
        }
    }

    fn provision(&self, order: NodeOrder) {
        let settings = settings_of(&order.settings).clone();
        let up_us = order.requested_us.saturating_add(micros(boot_delay(&settings).as_secs_f64()));
        let terms = Terms { tier: order.tier, settings, up_us };
        for node in order.nodes {
            if let Entry::Vacant(place) = self.inner.tended().entry(node.node_id) {
                let (sender, receiver) = watch::channel(Fate::default());
                place.insert(sender);
                let (cluster, size) = (&order.cluster.name, &order.size.name);
                tracing::debug!(node.id = %node.node_id, intent = %order.intent, cluster, size, "a node is wanted");
                tokio::spawn(Arc::clone(&self.inner).tend(node, terms.clone(), receiver));
            }
        }
    }

    fn adopt(&self, orders: Vec<NodeOrder>) {
        for order in orders {
            // What is tended already was reported, but perhaps not heard.
            for node in &order.nodes {
                if self.inner.up().contains(&node.node_id) {
                    self.inner.say(NodeEvent::Ready { node_id: node.node_id });
                }
            }
            self.provision(order);
        }
    }

    fn connected(&self, node_id: NodeId, at_us: i64) {
        if let Some(fate) = self.inner.tended().get(&node_id) {
            fate.send_if_modified(|fate| fate.connected_us.replace(at_us) != Some(at_us));
        }
    }

    fn release(&self, node_id: NodeId, agent: AgentIs) -> BoxFuture<'_, anyhow::Result<()>> {
        // Kept from now on, so that nothing starts its agent again to take new jobs.
        self.inner.lets_go(node_id);
        Box::pin(self.inner.halt(node_id, agent))
    }

    fn collect(&self, node_id: NodeId, secret: String) -> BoxFuture<'static, ()> {
        self.inner.lets_go(node_id);
        let begin = || {
            let (done, collected) = watch::channel(());
            let inner = Arc::clone(&self.inner);
            tokio::spawn(async move {
                Arc::clone(&inner).collect(node_id, secret).await;
                inner.collecting().remove(&node_id);
                drop(done);
            });
            collected
        };
        let mut collected = self.inner.collecting().entry(node_id).or_insert_with(begin).clone();
        Box::pin(async move {
            // It is done once nobody can say any more that it is.
            while collected.changed().await.is_ok() {}
        })
    }

    fn left(&self) -> Vec<NodeId> {
        let folders = fs::read_dir(&self.inner.nodes).into_iter().flatten().flatten();
        let nodes = folders.filter_map(|folder| NodeId::parse(folder.file_name().to_str()?).ok());
        nodes.filter(|node_id| process::has_undelivered(&self.inner.folder(*node_id))).collect()
    }

    fn observe(&self) -> broadcast::Receiver<NodeEvent> {
        self.inner.events.subscribe()
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
            Self::Adopted(identity) => identity.ended().await,
        }
    }
}

/// Waits until the node is to go.
async fn is_going(fate: &watch::Receiver<Fate>) {
    // A sender that is gone means the same.
    let _ = fate.clone().wait_for(|fate| fate.going).await;
}

/// Waits until the node's agent has connected, and answers when that was.
async fn has_connected(fate: &watch::Receiver<Fate>) -> i64 {
    if let Ok(fate) = fate.clone().wait_for(|fate| fate.connected_us.is_some()).await
        && let Some(at_us) = fate.connected_us
    {
        return at_us;
    }
    std::future::pending().await
}

impl Inner {
    fn tended(&self) -> MutexGuard<'_, HashMap<NodeId, watch::Sender<Fate>>> {
        // Whole after every statement that changes it.
        self.tended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node is to go.
    fn lets_go(&self, node_id: NodeId) {
        self.tended().entry(node_id).or_default().send_modify(|fate| fate.going = true);
    }

    fn collecting(&self) -> MutexGuard<'_, HashMap<NodeId, watch::Receiver<()>>> {
        // Whole after every statement that changes it.
        self.collecting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self, node_id: NodeId) -> PathBuf {
        self.nodes.join(node_id.to_string())
    }

    fn up(&self) -> MutexGuard<'_, HashSet<NodeId>> {
        // Whole after every statement that changes it.
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Without a listener nobody waits for it.
    fn say(&self, event: NodeEvent) {
        let _ = self.events.send(event);
    }

    async fn tend(self: Arc<Self>, node: OrderedNode, terms: Terms, fate: watch::Receiver<Fate>) {
        let node_id = node.node_id;
        tokio::select! { () = self.until(terms.up_us) => {}, () = is_going(&fate) => return }
        let life_us = lives::life_us(&terms.settings, terms.tier, node.ordinal);
        let mut quick_ends = 0;
        loop {
            let started = Stopwatch::start();
            match self.agent(node_id, &node.secret) {
                Ok(mut agent) => {
                    if self.up().insert(node_id) {
                        self.say(NodeEvent::Ready { node_id });
                    }
                    if self.watch(&mut agent, node_id, (&terms, life_us), &fate).await {
                        self.up().remove(&node_id);
                        return;
                    }
                }
                Err(error) => tracing::error!(node.id = %node_id, "its agent cannot be started: {error:#}"),
            }
            quick_ends = if started.elapsed() < QUICK_END { quick_ends + 1 } else { 0 };
            if quick_ends >= QUICK_ENDS_MAX {
                let reason = format!("its agent ends at once: {}", self.log_tail(node_id));
                self.up().remove(&node_id);
                self.say(NodeEvent::Failed { node_id, cause: FailureCause::Broken, reason });
                return;
            }
            let wait = RESTART_WAIT * 2u32.pow(quick_ends);
            tokio::select! { () = tokio::time::sleep(wait) => {}, () = is_going(&fate) => return }
        }
    }

    /// Waits until the agent has ended, and tells a simulated preemption meanwhile; true when the node is to go.
    async fn watch(
        &self,
        agent: &mut Agent,
        node_id: NodeId,
        (terms, life_us): (&Terms, Option<i64>),
        fate: &watch::Receiver<Fate>,
    ) -> bool {
        let mut again = None;
        loop {
            let is_due = async {
                match (life_us, &mut again) {
                    (None, _) => std::future::pending().await,
                    // A simulated life begins with the first connection: nobody is preempted who was never there. It
                    // does not begin anew, neither with another agent nor after a restart.
                    (Some(life_us), None) => self.until(has_connected(fate).await.saturating_add(life_us)).await,
                    (Some(_), Some(again)) => Backoff::wait(again).await,
                }
            };
            tokio::select! {
                ended = agent.ended() => {
                    if let Err(error) = ended {
                        tracing::warn!(node.id = %node_id, "its agent cannot be watched: {error}");
                    }
                    return false;
                }
                () = is_going(fate) => {
                    // Waited for, so that it does not stay as a zombie.
                    let _ = agent.ended().await;
                    return true;
                }
                () = is_due => {
                    // Until the node goes: one that is recorded is not recorded twice.
                    again.get_or_insert_with(|| Backoff::new(NOTICE_AGAIN_MIN, NOTICE_AGAIN_MAX));
                    let deadline_us = self.clock.now_us().saturating_add(micros(terms.settings.notice_seconds));
                    let reason = "simulated preemption".to_owned();
                    self.say(NodeEvent::Notice { node_id, deadline_us, reason });
                }
            }
        }
    }

    /// Sleeps until a time, in microseconds since 1970.
    async fn until(&self, at_us: i64) {
        let left = Duration::from_micros(at_us.saturating_sub(self.clock.now_us()).max(0).unsigned_abs());
        tokio::time::sleep(left).await;
    }

    /// The node's agent: the one that runs, or a new one.
    fn agent(&self, node_id: NodeId, secret: &str) -> anyhow::Result<Agent> {
        let folder = self.folder(node_id);
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
        let node = node_id.to_string();
        let mut command = tokio::process::Command::new(&self.wiring.executable);
        command
            .args(["agent", "--node", &node, "--folder"])
            .arg(&folder)
            // All nodes of this machine share them: they have the same interpreters.
            .arg("--environments")
            .arg(self.nodes.with_file_name("environments"))
            .args(["--compute", &self.wiring.compute_address])
            .args(["--away-seconds", &self.wiring.agents_away.as_secs_f64().to_string()])
            // Not in argv, which every user of the machine can read.
            .env("TRIALOG_NODE_TOKEN", secret)
            .env("TRIALOG_NODE_ID", &node)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(false);
        process::in_own_session(&mut command);
        let child = command.spawn().with_context(|| self.wiring.executable.display().to_string())?;
        tracing::info!(node.id = node, "agent started");
        Ok(Agent::Child(Box::new(child)))
    }

    async fn halt(&self, node_id: NodeId, agent: AgentIs) -> anyhow::Result<()> {
        let folder = self.folder(node_id);
        let spared =
            Identity::read(&folder.join("agent.pid")).filter(|living| agent != AgentIs::Mute && living.lives());
        let grace = if agent == AgentIs::Notified { LEAVE_WAIT } else { Duration::ZERO };
        let (path, executable) = (folder.clone(), self.wiring.executable.clone());
        tokio::task::spawn_blocking(move || {
            process::end_node(&node_id.to_string(), (&path, &executable), spared, grace)
        })
        .await??;
        if process::has_undelivered(&folder) {
            return Ok(());
        }
        self.clear_away(node_id, grace).await
    }

    /// Ends the agent of a halted node, which has nothing left to say, and removes what the attempts left: their
    /// outputs and logs are with runs. The agent's own log stays.
    async fn clear_away(&self, node_id: NodeId, grace: Duration) -> anyhow::Result<()> {
        let folder = self.folder(node_id);
        if let Some(agent) = Identity::read(&folder.join("agent.pid")).filter(|agent| agent.lives()) {
            let _ = tokio::time::timeout(grace, agent.ended()).await;
        }
        let executable = self.wiring.executable.clone();
        tokio::task::spawn_blocking(move || {
            process::end_node(&node_id.to_string(), (&folder, &executable), None, Duration::ZERO)?;
            match fs::remove_dir_all(folder.join("jobs")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(node.id = %node_id, "its jobs' folders stay: {error}");
                }
                _ => {}
            }
            anyhow::Ok(())
        })
        .await?
    }

    /// Keeps an agent on a halted node until it has nothing left to say.
    async fn collect(self: Arc<Self>, node_id: NodeId, secret: String) {
        let folder = self.folder(node_id);
        let (mut patience, mut quick_ends) = (COLLECT_PATIENCE, 0);
        while process::has_undelivered(&folder) {
            let started = Stopwatch::start();
            match self.agent(node_id, &secret) {
                Ok(mut agent) => match tokio::time::timeout(patience, agent.ended()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(node.id = %node_id, "its agent cannot be watched: {error}"),
                    Err(_) => {
                        // It may hang; a new one goes on where it stands.
                        if let Some(agent) = Identity::read(&folder.join("agent.pid")) {
                            agent.kill();
                        }
                        let _ = agent.ended().await;
                        patience = (patience * 2).min(COLLECT_PATIENCE_MAX);
                    }
                },
                Err(error) => tracing::error!(node.id = %node_id, "its agent cannot be started: {error:#}"),
            }
            quick_ends = if started.elapsed() < QUICK_END { quick_ends + 1 } else { 0 };
            if quick_ends >= QUICK_ENDS_MAX {
                tracing::error!(node.id = %node_id, "what it left stays there: {}", self.log_tail(node_id));
                return;
            }
            tokio::time::sleep(RESTART_WAIT * 2u32.pow(quick_ends)).await;
        }
        match self.clear_away(node_id, LEAVE_WAIT).await {
            Ok(()) => drop(self.tended().remove(&node_id)),
            Err(error) => tracing::error!(node.id = %node_id, "cannot be cleared away: {error:#}"),
        }
    }

    fn log_tail(&self, node_id: NodeId) -> String {
        let text = fs::read(self.folder(node_id).join("agent.log")).unwrap_or_default();
        let tail = &text[text.len().saturating_sub(LOG_TAIL_BYTES)..];
        String::from_utf8_lossy(tail).trim().replace('\n', "; ")
    }
}
