//! One node as its agent knows it: which attempts it has, which notice stands, and what keeps the agent here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contracts::compute::agent_report::Report;
use contracts::compute::{AttemptStatus, Hello, NodeNotice, NodeTrouble, StartAttempt};
use contracts::{CallContext, NodeBearer};
use runtime::Stopwatch;
use tokio::sync::watch;
use tonic::Status;
use vocabulary::{Clock, Entropy};

use crate::attempt::Attempt;
use crate::link::Link;
use crate::record::Preempt;
use crate::shims::Shims;
use crate::trouble::Trouble;
use crate::watch::Watcher;

/// What the agent of a node is told at its start.
#[derive(Clone)]
pub struct AgentOptions {
    /// `node_…`.
    pub node_id: String,
    /// `DATA/nodes/<node>`.
    pub folder: PathBuf,
    /// Where the Python environments of this machine are; its nodes share them.
    pub environments: PathBuf,
    /// Where compute listens: `unix:PATH`, `http://HOST:PORT` or `https://HOST:PORT`.
    pub compute: String,
    /// The authority of its certificate, as PEM; with `https`.
    pub compute_ca: Option<String>,
    /// The node's secret, given at provision.
    pub token: String,
    /// argv that starts a shim; the attempt's folder is appended.
    pub shim_command: Vec<OsString>,
    /// argv that starts the node's shim server; its padding is appended. Empty: every shim is started alone.
    pub shim_server_command: Vec<OsString>,
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
    pub shims: Shims,
    attempts: Mutex<BTreeMap<(String, u32), Arc<Attempt>>>,
    /// That the node goes, and when that was told.
    notice: Mutex<Option<(Stopwatch, NodeNotice)>>,
    stay: watch::Sender<Stay>,
    trouble: Trouble,
    /// Attempts that have ended since the start.
    pub ended: AtomicUsize,
}

/// What keeps the agent here.
#[derive(Clone, Copy, Debug, Default)]
struct Stay {
    /// Attempts whose end is not acknowledged.
    attempts: usize,
    /// It is to go as soon as it has none.
    leaving: bool,
}

impl Node {
    /// A node without attempts.
    pub fn new(options: AgentOptions) -> Self {
        Self {
            shims: Shims::new(options.shim_server_command.clone()),
            options,
            link: Link::new(),
            watcher: Watcher::start(),
            attempts: Mutex::default(),
            notice: Mutex::default(),
            stay: watch::Sender::default(),
            trouble: Trouble::default(),
            ended: AtomicUsize::new(0),
        }
    }

    fn attempts(&self) -> MutexGuard<'_, BTreeMap<(String, u32), Arc<Attempt>>> {
        // The map is whole after every statement that changes it.
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_attempts<T>(&self, change: impl FnOnce(&mut BTreeMap<(String, u32), Arc<Attempt>>) -> T) {
        let mut attempts = self.attempts();
        change(&mut attempts);
        self.stay.send_modify(|stay| stay.attempts = attempts.len());
    }

    /// Every attempt that is not forgotten.
    pub fn all(&self) -> Vec<Arc<Attempt>> {
        self.attempts().values().cloned().collect()
    }

    /// The attempt with this number.
    pub fn find(&self, job_id: &str, attempt: u32) -> Option<Arc<Attempt>> {
        self.attempts().get(&(job_id.to_owned(), attempt)).cloned()
    }

    /// Takes an attempt in, with the notice that stands.
    pub fn add(&self, order: StartAttempt, folder: PathBuf) -> Arc<Attempt> {
        let key = (order.job_id.clone(), order.attempt);
        let attempt = Arc::new(Attempt::new(order, folder));
        if let Some((since, notice)) = &*self.notice.lock().unwrap_or_else(PoisonError::into_inner) {
            attempt.give_notice(&self.preempt(notice, since.elapsed()));
        }
        self.change_attempts(|attempts| attempts.insert(key, Arc::clone(&attempt)));
        attempt
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
            trouble: self.trouble.standing().unwrap_or_default(),
        }
    }

    /// Takes note of an answer of runs: of what keeps the node from its work compute learns, and of its end.
    pub async fn note_runs(&self, failure: Option<&Status>) {
        if let Some(reason) = self.trouble.note(failure) {
            self.link.report(Report::Trouble(NodeTrouble { reason })).await;
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

    /// The node goes: all attempts learn it, and those that come.
    pub fn give_notice(&self, notice: NodeNotice) {
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
            return Preempt { deadline, reason, seconds_left: None, taken_down: false };
        };
        let deadline = self.options.clock.now().checked_add(left).map_or(deadline, |at| at.to_string());
        Preempt { deadline, reason, seconds_left: Some(left.as_secs_f64()), taken_down: false }
    }

    /// It is to go as soon as it has no attempts; whether that is news.
    pub fn set_leaving(&self) -> bool {
        self.stay.send_if_modified(|stay| !std::mem::replace(&mut stay.leaving, true))
    }

    /// Whether it is to go.
    pub fn is_leaving(&self) -> bool {
        self.stay.borrow().leaving
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
}
