//! What the agent knows of an attempt, and the orders and acknowledgements that reach it.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contracts::compute::agent_report::Report;
use contracts::compute::{AttemptEnded, AttemptPhase, JobEnd, ReplicaReady, StartAttempt};
use contracts::job::{kind_of, with_kinds};
use runtime::Stopwatch;
use serde::Serialize;
use tokio::sync::watch;
use vocabulary::job::StopBy;

use super::best::Best;
use super::environment;
use crate::folder;
use crate::process;
use crate::record::{Plan, Preempt, Stage, Stop};
use crate::uplink::Mask;

/// What the agent knows of an attempt beside its folder.
#[derive(Debug)]
pub struct Attempt {
    pub order: StartAttempt,
    pub folder: PathBuf,
    /// What must not leave the node.
    pub mask: Mask,
    /// What is to be kept of it at its best value, if anything.
    pub best: Option<Best>,
    known: Mutex<Known>,
    /// Orders and acknowledgements that have come.
    signals: watch::Sender<Signals>,
}

#[derive(Debug, Default)]
struct Known {
    phase: &'static str,
    address: Option<String>,
    end: Option<JobEnd>,
    gpus: Vec<u32>,
    /// The order to stop, which holds whether the disk has taken it or not.
    stop: Option<Order<Stop>>,
    /// That its node goes.
    notice: Option<Order<Preempt>>,
}

/// An order, since when it is known, and how long the command may go on from then.
#[derive(Debug)]
struct Order<T> {
    order: T,
    since: Stopwatch,
    span: Duration,
}

impl<T> Order<T> {
    fn new(order: T, span: impl FnOnce(&T) -> Duration) -> Self {
        Self { span: span(&order), since: Stopwatch::start(), order }
    }

    fn time_left(&self, patience: Duration) -> Duration {
        self.span.saturating_add(patience).saturating_sub(self.since.elapsed())
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Signals {
    stopped: bool,
    noticed: bool,
    gone: bool,
    acknowledged: bool,
}

impl Attempt {
    /// An attempt that is at its beginning, or wherever its folder says.
    pub fn new(order: StartAttempt, folder: PathBuf) -> Self {
        let stop = folder::read_json::<Stop>(&folder.join(folder::STOP)).ok().flatten();
        let gpus =
            folder::read_json::<Plan>(&folder.join(folder::PLAN)).ok().flatten().map(|plan| environment::gpus(&plan));
        let stage = folder::read_json::<Stage>(&folder.join(folder::STATE)).ok().flatten();
        let phase = match stage {
            _ if folder.join(folder::ENDED).exists() => "ended",
            Some(stage) => stage.known_phase(),
            None => "starting",
        };
        let address = folder::read_json(&folder.join(folder::READY)).ok().flatten();
        let notice = folder::read_json::<Preempt>(&folder.join(folder::PREEMPT)).ok().flatten();
        // The seconds were counted when it was written.
        let notice = notice.map(|notice| Order::new(Preempt { seconds_left: None, ..notice }, Preempt::left));
        let signals = Signals { stopped: stop.is_some(), noticed: notice.is_some(), ..Signals::default() };
        let stop = stop.map(|stop| Order::new(stop, Stop::grace));
        let known = Known { phase, address, gpus: gpus.unwrap_or_default(), stop, notice, ..Known::default() };
        let (mask, best) = (Mask::of(&order), Best::of(&order, &folder));
        Self { order, folder, mask, best, known: Mutex::new(known), signals: watch::Sender::new(signals) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every field is whole after every statement that changes it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As compute calls it, or `ended`.
    pub fn phase(&self) -> &'static str {
        self.known().phase
    }

    /// Puts it into a phase.
    pub fn set_phase(&self, phase: &'static str) {
        self.known().phase = phase;
    }

    /// Gives it its end; the report of that.
    pub fn set_end(&self, end: JobEnd) -> Report {
        let mut known = self.known();
        known.phase = "ended";
        known.end = Some(end.clone());
        let (job_id, attempt) = (self.order.job_id.clone(), self.order.attempt);
        Report::Ended(AttemptEnded { job_id, attempt, end: Some(with_kinds(end)) })
    }

    /// The GPUs that it has.
    pub fn gpus(&self) -> Vec<u32> {
        self.known().gpus.clone()
    }

    /// Gives it GPUs.
    pub fn set_gpus(&self, gpus: Vec<u32>) {
        self.known().gpus = gpus;
    }

    /// The run's id, or the job's in jobs without a run.
    pub fn run_name(&self) -> &str {
        process::run_name(&self.order.run_id, &self.order.job_id)
    }

    /// Whether this is a replica of a deployment.
    pub fn is_service(&self) -> bool {
        self.order.spec.as_ref().is_some_and(|spec| spec.service.is_some())
    }

    /// What holds until it is acknowledged, and is therefore said again on each connection.
    pub fn standing_reports(&self) -> Vec<Report> {
        let known = self.known();
        let (job_id, attempt) = (&self.order.job_id, self.order.attempt);
        if let Some(end) = &known.end {
            return vec![Report::Ended(AttemptEnded { job_id: job_id.clone(), attempt, end: Some(end.clone()) })];
        }
        let ready = |address: &String| {
            Report::ReplicaReady(ReplicaReady { job_id: job_id.clone(), attempt, address: address.clone() })
        };
        known.address.iter().map(ready).collect()
    }

    /// Remembers where the replica listens; whether that is news.
    pub fn set_address(&self, address: &String) -> bool {
        if let Err(error) = folder::write_json(&self.folder.join(folder::READY), address) {
            tracing::error!(job.id = self.order.job_id, "cannot write the replica's address: {error}");
        }
        self.known().address.replace(address.clone()).as_ref() != Some(address)
    }

    /// Stops it: by its shim when it runs, at once when it does not yet.
    pub fn stop(&self, stop: &Stop) {
        self.known().stop.get_or_insert_with(|| Order::new(stop.clone(), Stop::grace));
        self.write_orders();
        self.signals.send_modify(|signals| signals.stopped = true);
        folder::poke(&self.folder);
    }

    /// The order to stop, if one has come.
    pub fn stop_order(&self) -> Option<Stop> {
        self.known().stop.as_ref().map(|stop| stop.order.clone())
    }

    /// Whether its sweep has decided that nothing counts any more that it reports. Who is canceled by a user, or held
    /// while its sweep is paused, counts up to its end.
    pub fn is_stopped_for_good(&self) -> bool {
        let is_trial = self.order.spec.as_ref().is_some_and(|spec| !spec.sweep_id.is_empty());
        let by = self.known().stop.as_ref().and_then(|stop| stop.order.by.parse::<StopBy>().ok());
        is_trial
            && by.is_some_and(|by| !matches!(by, StopBy::User | StopBy::Pause | StopBy::Cluster | StopBy::Deployment))
    }

    /// Tells it that its node goes. A replica is not told: it serves on until compute has another one in its place and
    /// stops it, or until the node is gone.
    pub fn give_notice(&self, notice: &Preempt) {
        if self.is_service() {
            return;
        }
        if self.phase() == "ended" {
            return;
        }
        self.known().notice.get_or_insert_with(|| Order::new(notice.clone(), Preempt::left));
        self.write_orders();
        self.signals.send_modify(|signals| signals.noticed = true);
        folder::poke(&self.folder);
    }

    /// Whether it has been told that its node goes.
    pub fn is_noticed(&self) -> bool {
        self.known().notice.is_some()
    }

    /// Writes the orders down that do not lie in the folder yet, and wakes the shim; false when the disk refuses one.
    pub fn write_orders(&self) -> bool {
        let known = self.known();
        let stop = known.stop.as_ref().is_none_or(|stop| self.write_order(folder::STOP, &stop.order));
        let notice = known.notice.as_ref().is_none_or(|notice| self.write_order(folder::PREEMPT, &notice.order));
        stop && notice
    }

    fn write_order<T: Serialize>(&self, name: &str, order: &T) -> bool {
        let path = self.folder.join(name);
        if path.exists() {
            return true;
        }
        let written = folder::write_json(&path, order);
        if let Err(error) = &written {
            tracing::error!(job.id = self.order.job_id, "cannot write {name}: {error}");
        }
        folder::poke(&self.folder);
        written.is_ok()
    }

    /// Orders and acknowledgements as they come.
    pub fn orders(&self) -> watch::Receiver<impl Sized + use<>> {
        self.signals.subscribe()
    }

    /// How long until the first of its orders is overdue by `patience`; `None` without an order.
    pub fn time_left(&self, patience: Duration) -> Option<Duration> {
        let known = self.known();
        let stop = known.stop.as_ref().map(|stop| stop.time_left(patience));
        let notice = known.notice.as_ref().map(|notice| notice.time_left(patience));
        stop.into_iter().chain(notice).min()
    }

    /// Compute has taken note of the end.
    pub fn acknowledge(&self) {
        self.signals.send_modify(|signals| signals.acknowledged = true);
    }

    /// Waits for an order to stop.
    pub async fn stopped(&self) {
        self.signaled(|signals| signals.stopped).await;
    }

    /// Waits until compute has taken note of the end.
    pub async fn acknowledged(&self) {
        self.signaled(|signals| signals.acknowledged).await;
    }

    async fn signaled(&self, wanted: impl FnMut(&Signals) -> bool) {
        // The sender lives in self, so waiting cannot fail.
        let _ = self.signals.subscribe().wait_for(wanted).await;
    }

    /// Whether it has processes, or may have them.
    pub fn runs(&self) -> bool {
        !self.signals.borrow().gone && self.folder.join(folder::SHIM_PID).exists()
    }

    /// It has no processes any more.
    pub fn set_gone(&self) {
        self.signals.send_modify(|signals| signals.gone = true);
    }

    /// Waits until it has no processes any more.
    pub async fn processes_gone(&self) {
        self.signaled(|signals| signals.gone).await;
    }
}

/// That an attempt has come to a phase.
pub fn phase_report(job_id: &str, attempt: u32, phase: &str) -> Report {
    let phase_kind = kind_of::<vocabulary::job::AttemptPhase>(phase);
    Report::Phase(AttemptPhase { job_id: job_id.to_owned(), attempt, phase: phase.to_owned(), phase_kind })
}
