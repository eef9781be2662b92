//! The agent of one node: which attempts it has, and what each order does to them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use contracts::compute::agent_order::Order;
use contracts::compute::agent_report::Report;
use contracts::compute::{
    AttemptEnded, AttemptStatus, EndAcknowledged, Hello, JobEnd, NodeNotice, StartAttempt, StopAttempt,
};
use contracts::job::with_kinds;
use contracts::{CallContext, NodeBearer, Peer, Peers};
use runtime::Stopwatch;
use rustix::fs::FlockOperation;
use tokio::sync::watch;
use vocabulary::{Clock, Entropy};

use crate::attempt::{self, Attempt};
use crate::folder;
use crate::link::{self, Link};
use crate::process;
use crate::record::{self, Identity, Preempt, Stop};
use crate::watch::Watcher;

/// How long attempts may take to end when the node goes, before their shims are killed too.
const LEAVE_WAIT: Duration = Duration::from_secs(3);

/// What the agent of a node is told at its start.
#[derive(Clone)]
pub struct AgentOptions {
    /// `node_…`.
    pub node_id: String,
    /// `DATA/nodes/<node>`.
    pub folder: PathBuf,
    /// Where compute listens: `unix:PATH` or `http://HOST:PORT`.
    pub compute: String,
    /// The node's secret, given at provision.
    pub token: String,
    /// argv that starts a shim; the attempt's folder is appended.
    pub shim_command: Vec<OsString>,
    /// How long compute may stay away before the agent ends, once nothing runs on its node.
    pub away: Duration,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New ids.
    pub entropy: Arc<dyn Entropy>,
    /// Ends the agent; attempts go on under their shims.
    pub shutdown: runtime::Shutdown,
}

impl std::fmt::Debug for AgentOptions {
    /// Without the token: it must not get into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentOptions")
            .field("node_id", &self.node_id)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// The running agent.
pub struct Node {
    pub options: AgentOptions,
    pub link: Link,
    pub watcher: Arc<Watcher>,
    attempts: Mutex<BTreeMap<(String, u32), Arc<Attempt>>>,
    /// That the node goes, and when that was told.
    notice: Mutex<Option<(Stopwatch, NodeNotice)>>,
    stay: watch::Sender<Stay>,
}

/// What keeps the agent here.
#[derive(Clone, Copy, Debug, Default)]
struct Stay {
    /// Attempts whose end is not acknowledged.
    attempts: usize,
    /// It is to go as soon as it has none.
    leaving: bool,
}

/// Runs the agent until compute tells it to leave, stays away for too long, or shutdown is requested.
///
/// # Errors
/// When another agent of this node runs, or the node's folder cannot be used.
pub async fn agent_main(mut options: AgentOptions) -> anyhow::Result<()> {
    std::fs::create_dir_all(&options.folder).with_context(|| options.folder.display().to_string())?;
    // Jobs run in folders of their own, where a relative path would lead elsewhere.
    options.folder = options.folder.canonicalize()?;
    let _lock = lock(&options.folder)?;
    let own = Identity::own()?;
    folder::write_whole(&options.folder.join("agent.pid"), format!("{} {}\n", own.pid, own.start).as_bytes())?;
    let compute = Peers { compute: Peer::remote(&options.compute).map_err(anyhow::Error::msg)?, ..Peers::default() };
    let node = Arc::new(Node {
        options,
        link: Link::new(),
        watcher: Watcher::start(),
        attempts: Mutex::default(),
        notice: Mutex::default(),
        stay: watch::Sender::default(),
    });
    node.adopt();
    link::keep_connected(&node, &compute).await;
    Ok(())
}

fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("agent.lock");
    let file = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&path)?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("{}: another agent of this node runs", path.display()))?;
    Ok(file)
}

impl Node {
    fn attempts(&self) -> MutexGuard<'_, BTreeMap<(String, u32), Arc<Attempt>>> {
        // The map is whole after every statement that changes it.
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_attempts<T>(&self, change: impl FnOnce(&mut BTreeMap<(String, u32), Arc<Attempt>>) -> T) {
        let mut attempts = self.attempts();
        change(&mut attempts);
        self.stay.send_modify(|stay| stay.attempts = attempts.len());
    }

    fn all(&self) -> Vec<Arc<Attempt>> {
        self.attempts().values().cloned().collect()
    }

    fn find(&self, job_id: &str, attempt: u32) -> Option<Arc<Attempt>> {
        self.attempts().get(&(job_id.to_owned(), attempt)).cloned()
    }

    /// Takes over what an earlier agent has left.
    fn adopt(self: &Arc<Self>) {
        for (job_id, attempt, folder) in process::attempts_on_disk(&self.options.folder) {
            match folder::read_json::<StartAttempt>(&folder.join(folder::JOB)) {
                Ok(Some(order)) => self.take_on(order, folder),
                Ok(None) => {}
                Err(error) => tracing::error!(job.id = job_id, attempt, "cannot be adopted: {error}"),
            }
        }
    }

    fn take_on(self: &Arc<Self>, order: StartAttempt, folder: PathBuf) {
        let key = (order.job_id.clone(), order.attempt);
        let attempt = Arc::new(Attempt::new(order, folder));
        if let Some((since, notice)) = &*self.notice.lock().unwrap_or_else(PoisonError::into_inner) {
            attempt.give_notice(&self.preempt(notice, since.elapsed()));
        }
        self.change_attempts(|attempts| attempts.insert(key, Arc::clone(&attempt)));
        tokio::spawn(attempt::drive(Arc::clone(self), attempt));
    }

    /// Forgets an attempt whose end is acknowledged.
    pub fn forget(&self, attempt: &Attempt) {
        self.change_attempts(|attempts| attempts.remove(&(attempt.order.job_id.clone(), attempt.order.attempt)));
    }

    /// The GPUs that no living attempt has, lowest first.
    pub fn assign_gpus(&self, attempt: &Attempt, count: u32) -> Vec<u32> {
        let attempts = self.attempts();
        let taken: Vec<u32> = attempts.values().flat_map(|other| other.gpus()).collect();
        let free = (0..).filter(|gpu| !taken.contains(gpu)).take(usize::try_from(count).unwrap_or_default());
        attempt.set_gpus(free.collect());
        attempt.gpus()
    }

    /// The first message of a connection.
    pub fn hello(&self) -> Hello {
        let status = |attempt: &Arc<Attempt>| AttemptStatus {
            job_id: attempt.order.job_id.clone(),
            attempt: attempt.order.attempt,
            phase: attempt.phase().to_owned(),
        };
        Hello {
            node_id: self.options.node_id.clone(),
            token: self.options.token.clone(),
            pid: std::process::id(),
            attempts: self.attempts().values().map(status).collect(),
            leaving: self.stay.borrow().leaving,
        }
    }

    /// Says again what an earlier connection may have lost.
    pub async fn repeat_reports(&self) {
        for attempt in self.all() {
            for report in attempt.standing_reports() {
                self.link.report(report).await;
            }
        }
    }

    /// Carries out an order. Each may come again.
    pub async fn obey(self: &Arc<Self>, order: Order) {
        match order {
            Order::Start(start) => self.start(start).await,
            Order::Stop(stop) => self.stop(stop).await,
            Order::Notice(notice) => self.notice(notice),
            Order::Acknowledged(end) => self.acknowledge(&end),
            Order::Leave(_) => self.leave(),
            Order::Welcome(_) => {}
        }
    }

    async fn start(self: &Arc<Self>, order: StartAttempt) {
        if self.find(&order.job_id, order.attempt).is_some() {
            return;
        }
        let report = attempt::phase_report(&order.job_id, order.attempt, "starting");
        let end = match self.accept(order.clone()) {
            Ok(()) => report,
            Err(error) => {
                let end = JobEnd {
                    outcome: "lost".to_owned(),
                    reason: "lost".to_owned(),
                    stderr_tail: format!("the node cannot take the job: {error}"),
                    ..JobEnd::default()
                };
                Report::Ended(AttemptEnded { job_id: order.job_id, attempt: order.attempt, end: Some(with_kinds(end)) })
            }
        };
        self.link.report(end).await;
    }

    fn accept(self: &Arc<Self>, mut order: StartAttempt) -> std::io::Result<()> {
        if self.stay.borrow().leaving {
            return Err(std::io::Error::other("it is about to go"));
        }
        if !folder::is_plain_name(&order.job_id) {
            return Err(std::io::Error::other(format!("'{}' is not a job id", order.job_id)));
        }
        let folder = folder::of_attempt(&self.options.folder, &order.job_id, order.attempt);
        std::fs::create_dir_all(&folder)?;
        if !order.checkpoint_folder.is_empty() {
            // The job runs in a folder of its own, where a relative path would lead elsewhere.
            order.checkpoint_folder = std::path::absolute(&order.checkpoint_folder)?.display().to_string();
        }
        folder::write_json(&folder.join(folder::JOB), &order)?;
        self.take_on(order, folder);
        Ok(())
    }

    async fn stop(&self, order: StopAttempt) {
        let StopAttempt { job_id, attempt, grace_seconds, reason, by, decision, .. } = order;
        if let Some(attempt) = self.find(&job_id, attempt) {
            attempt.stop(&Stop { grace_seconds, reason, by, decision });
            return;
        }
        // It never began here, so this is its end.
        let end = JobEnd { outcome: "canceled".to_owned(), by, decision, ..JobEnd::default() };
        self.link.report(Report::Ended(AttemptEnded { job_id, attempt, end: Some(with_kinds(end)) })).await;
    }

    fn notice(&self, notice: NodeNotice) {
        let preempt = self.preempt(&notice, Duration::ZERO);
        for attempt in self.all() {
            attempt.give_notice(&preempt);
        }
        *self.notice.lock().unwrap_or_else(PoisonError::into_inner) = Some((Stopwatch::start(), notice));
    }

    /// What attempts are told of a notice that came some time ago. Its deadline is given by this machine's clock, which
    /// need not be the server's.
    fn preempt(&self, notice: &NodeNotice, ago: Duration) -> Preempt {
        let NodeNotice { deadline, reason, seconds_left } = notice.clone();
        let left = Duration::try_from_secs_f64(seconds_left).ok().filter(|left| !left.is_zero());
        let Some(left) = left.map(|left| left.saturating_sub(ago)) else {
            return Preempt { deadline, reason, seconds_left: None };
        };
        let deadline = self.options.clock.now().checked_add(left).map_or(deadline, |at| at.to_string());
        Preempt { deadline, reason, seconds_left: Some(left.as_secs_f64()) }
    }

    fn acknowledge(&self, end: &EndAcknowledged) {
        if let Some(attempt) = self.find(&end.job_id, end.attempt) {
            attempt.acknowledge();
        }
    }

    /// The node goes: every process of it ends now, and the agent itself once runs and compute have what was written
    /// before that.
    fn leave(self: &Arc<Self>) {
        let is_news = self.stay.send_if_modified(|stay| !std::mem::replace(&mut stay.leaving, true));
        if is_news {
            let node = Arc::clone(self);
            tokio::spawn(async move { node.end_everything().await });
        }
    }

    /// Waits until it is to go and nothing keeps it.
    pub async fn may_go(&self) {
        // The sender lives in self, so waiting cannot fail.
        let _ = self.stay.subscribe().wait_for(|stay| stay.leaving && stay.attempts == 0).await;
    }

    /// Whether nothing runs here. What lies on the disk waits for the next agent.
    pub fn is_idle(&self) -> bool {
        self.attempts().values().all(|attempt| !attempt.runs())
    }

    /// The context of a call of the agent's own.
    pub fn call(&self) -> CallContext {
        let AgentOptions { node_id, token, entropy, .. } = &self.options;
        CallContext {
            command_id: Some(entropy.uuid()),
            actor: format!("agent:{node_id}"),
            node: Some(NodeBearer { node_id: node_id.clone(), secret: token.clone() }),
            ..CallContext::default()
        }
    }

    /// Ends every attempt and all its processes.
    async fn end_everything(&self) {
        let stop = Stop { reason: record::FENCED.to_owned(), by: "node".to_owned(), ..Stop::default() };
        let attempts = self.all();
        for attempt in &attempts {
            attempt.stop(&stop);
        }
        let gone = async {
            for attempt in &attempts {
                attempt.processes_gone().await;
            }
        };
        let _ = tokio::time::timeout(LEAVE_WAIT, gone).await;
        let folder = self.options.folder.clone();
        let _ = tokio::task::spawn_blocking(move || process::kill_node(&folder)).await;
    }
}
