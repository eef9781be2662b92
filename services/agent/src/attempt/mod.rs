//! One attempt of a job on this node, from the order to the acknowledged end. Every step can be taken again by a later
//! agent.

mod content;
mod end;
mod environment;
mod inputs;
mod outputs;
mod setup;
mod shim;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contracts::compute::agent_report::Report;
use contracts::compute::{AttemptEnded, AttemptPhase, JobEnd, ReplicaReady, StartAttempt};
use contracts::job::{kind_of, with_kinds};
use tokio::sync::watch;

use crate::folder;
use crate::node::Node;
use crate::process;
use crate::record::{Exit, Plan, Preempt, Stage, Stop};
use crate::uplink::{Mask, Uplink};
use crate::watch::Watched;

pub use setup::Refused;

/// How long an attempt waits before it tries again what the machine refused (a full disk, no more processes).
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// What the agent knows of an attempt beside its folder.
#[derive(Debug)]
pub struct Attempt {
    pub order: StartAttempt,
    pub folder: PathBuf,
    /// What must not leave the node.
    pub mask: Mask,
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
}

#[derive(Clone, Copy, Debug, Default)]
struct Signals {
    stopped: bool,
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
        let known = Known { phase, address, gpus: gpus.unwrap_or_default(), ..Known::default() };
        let signals = Signals { stopped: stop.is_some(), ..Signals::default() };
        let mask = Mask::of(&order);
        Self { order, folder, mask, known: Mutex::new(known), signals: watch::Sender::new(signals) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every field is whole after every statement that changes it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As compute calls it, or `ended`.
    pub fn phase(&self) -> &'static str {
        self.known().phase
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
        let path = self.folder.join(folder::STOP);
        if !path.exists()
            && let Err(error) = folder::write_json(&path, stop)
        {
            tracing::error!(job.id = self.order.job_id, "cannot write the order to stop: {error}");
        }
        self.signals.send_modify(|signals| signals.stopped = true);
        folder::poke(&self.folder);
    }

    /// Tells it that its node goes. A replica is not told: it serves on until compute has another one in its place and
    /// stops it, or until the node is gone.
    pub fn give_notice(&self, notice: &Preempt) {
        if self.is_service() {
            return;
        }
        let path = self.folder.join(folder::PREEMPT);
        if path.exists() || self.phase() == "ended" {
            return;
        }
        if let Err(error) = folder::write_json(&path, notice) {
            tracing::error!(job.id = self.order.job_id, "cannot write the preemption notice: {error}");
        }
        folder::poke(&self.folder);
    }

    /// Compute has taken note of the end.
    pub fn acknowledge(&self) {
        self.signals.send_modify(|signals| signals.acknowledged = true);
    }

    async fn signaled(&self, wanted: impl FnMut(&Signals) -> bool) {
        // The sender lives in self, so waiting cannot fail.
        let _ = self.signals.subscribe().wait_for(wanted).await;
    }

    /// Whether it has processes, or may have them.
    pub fn runs(&self) -> bool {
        !self.signals.borrow().gone && self.folder.join(folder::SHIM_PID).exists()
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

/// Takes the attempt from where its folder stands to its acknowledged end.
pub async fn drive(node: Arc<Node>, attempt: Arc<Attempt>) {
    while let Err(error) = live(&node, &attempt).await {
        tracing::error!(job.id = attempt.order.job_id, attempt = attempt.order.attempt, "tried again: {error:#}");
        tokio::time::sleep(RETRY_WAIT).await;
    }
    node.forget(&attempt);
}

async fn live(node: &Arc<Node>, attempt: &Arc<Attempt>) -> anyhow::Result<()> {
    let path = attempt.folder.join(folder::ENDED);
    let end = match folder::read_json::<JobEnd>(&path)? {
        Some(end) => end,
        None => {
            let end = run(node, attempt).await?;
            let end = JobEnd { stderr_tail: attempt.mask.cover_text(&end.stderr_tail), ..end };
            // Not synced: after a crash of the machine it is made again of what is on disk.
            folder::write_json(&path, &end)?;
            end
        }
    };
    attempt.signals.send_modify(|signals| signals.gone = true);
    let report = {
        let mut known = attempt.known();
        known.phase = "ended";
        known.end = Some(end.clone());
        let (job_id, attempt) = (attempt.order.job_id.clone(), attempt.order.attempt);
        Report::Ended(AttemptEnded { job_id, attempt, end: Some(with_kinds(end)) })
    };
    node.link.report(report).await;
    attempt.signaled(|signals| signals.acknowledged).await;
    let (node_folder, folder) = (node.options.folder.clone(), attempt.folder.clone());
    tokio::task::spawn_blocking(move || end::clean_up(&node_folder, &folder)).await??;
    Ok(())
}

/// From the order, or from what runs already, to the end that will be reported.
async fn run(node: &Arc<Node>, attempt: &Arc<Attempt>) -> anyhow::Result<JobEnd> {
    let clock = &*node.options.clock;
    if !attempt.folder.join(folder::PLAN).exists() {
        let prepared = tokio::select! {
            prepared = setup::prepare(node, attempt) => prepared?,
            () = attempt.signaled(|signals| signals.stopped) => return Ok(end::of(attempt, None, clock)),
        };
        if let Err(Refused(reason)) = prepared {
            return Ok(end::refused(reason));
        }
    }
    let watched = node.watcher.watch(&attempt.folder);
    let uplink = Uplink::start(node, attempt, &watched);
    let exit = tokio::select! {
        exit = shim::run(node, attempt) => exit?,
        never = follow_phases(node, attempt, &watched) => match never {},
    };
    // A short command may have ended before its stage was seen.
    report_stage(node, attempt).await;
    if exit.is_none() {
        let (run, number) = (attempt.run_name().to_owned(), attempt.order.attempt);
        tokio::task::spawn_blocking(move || process::kill_leftovers(&run, number)).await?;
    }
    attempt.signals.send_modify(|signals| signals.gone = true);
    // What it wrote before its end belongs to it, whether anybody still waits for it or not.
    uplink.finish().await;
    let end = end::of(attempt, exit.as_ref(), clock);
    Ok(finalize(node, attempt, end, exit.as_ref()).await)
}

/// Uploads the outputs of a command that has ended well.
async fn finalize(node: &Arc<Node>, attempt: &Arc<Attempt>, end: JobEnd, exit: Option<&Exit>) -> JobEnd {
    if end.outcome != "completed" || !exit.is_some_and(Exit::is_success) || attempt.is_service() {
        return end;
    }
    let files = outputs::files(attempt);
    if files.is_empty() {
        return end;
    }
    set_phase(node, attempt, "finalizing").await;
    match outputs::upload(node, attempt, files).await {
        Ok(()) => end,
        Err(reason) => JobEnd { phase: "finalize".to_owned(), ..end::refused(reason) },
    }
}

async fn set_phase(node: &Node, attempt: &Attempt, phase: &'static str) {
    attempt.known().phase = phase;
    node.link.report(phase_report(&attempt.order.job_id, attempt.order.attempt, phase)).await;
}

/// Reports the stage that the shim has written, once; the phase afterwards.
async fn report_stage(node: &Node, attempt: &Attempt) -> &'static str {
    if let Ok(Some(stage)) = folder::read_json::<Stage>(&attempt.folder.join(folder::STATE)) {
        let phase = stage.known_phase();
        if attempt.phase() != phase {
            set_phase(node, attempt, phase).await;
        }
    }
    attempt.phase()
}

/// Reports what the shim says that runs.
async fn follow_phases(node: &Node, attempt: &Attempt, watched: &Watched) -> std::convert::Infallible {
    let mut changes = watched.changes.clone();
    loop {
        changes.borrow_and_update();
        if report_stage(node, attempt).await == "running" {
            break;
        }
        if changes.changed().await.is_err() {
            break;
        }
    }
    std::future::pending().await
}
