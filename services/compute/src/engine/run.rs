//! The loop: takes in, plans, carries out, sleeps until something happens.

use std::sync::Arc;
use std::time::Duration;

use eventlog::RecordedEvent;
use futures_util::future::join_all;
use runtime::Stopwatch;
use tokio::sync::broadcast::error::RecvError;

use super::parts::Engine;
use super::perform::Done;
use super::{effects, observe, perform};
use crate::job;
use crate::providers::NodeEvent;
use crate::scheduler::{self, Action, Fleet, Plan};
use crate::stream::{Change, ClusterName};

/// Events read at once.
const PAGE_EVENTS: u32 = 1000;
/// The pause after a plan of which nothing went through, before it is tried again.
const STUCK_PAUSE: Duration = Duration::from_millis(50);
/// The longest sleep: the machine's clock may be set while nothing happens.
const SLEEP_MAX: Duration = Duration::from_secs(5);
/// A sleep that lasts so much longer means that the whole process was stopped.
const HALTED_MIN: Duration = Duration::from_secs(2);

/// Runs until shutdown.
///
/// # Errors
/// When the log cannot be read; the caller begins again.
pub(crate) async fn run(engine: Arc<Engine>) -> anyhow::Result<()> {
    // Whoever ran before may have broken off anywhere: what the events that it has not taken in mean for agents is sent
    // by nobody but the greeting of a new connection.
    if !engine.fleet.begin() {
        engine.fleet.load(&engine.commands, || engine.agents.drop_all()).await?;
        engine.fleet.begin();
    }
    let mut events = engine.provider.observe();
    effects::resume(&engine);
    let mut head = engine.commands.log.head();
    while !engine.commands.shutdown.is_requested() {
        let known = *head.borrow_and_update();
        fold(&engine, known).await?;
        let Heeded { any, waits } = heed(&engine).await;
        if any {
            continue;
        }
        let Plan { actions, next_us } = look(&engine);
        let is_stuck = waits || !actions.is_empty();
        if !actions.is_empty() && perform::perform(&engine, actions).await {
            continue;
        }
        let now_us = engine.commands.clock.now_us();
        let until = next_us.map_or(SLEEP_MAX, |next| Duration::from_micros((next - now_us).max(0).unsigned_abs()));
        let pause = if is_stuck { STUCK_PAUSE } else { until.min(SLEEP_MAX) };
        let slept = Stopwatch::start();
        tokio::select! {
            changed = head.changed() => changed.map_err(|_| anyhow::anyhow!("the log has stopped"))?,
            () = engine.fleet.wake.notified() => {}
            event = events.recv() => match event {
                Ok(event) => engine.fleet.reported.put(event),
                // What was missed is said again.
                Err(RecvError::Lagged(_)) => effects::resume(&engine),
                Err(RecvError::Closed) => anyhow::bail!("the provider has stopped"),
            },
            () = tokio::time::sleep(pause) => {}
            () = engine.commands.shutdown.requested() => {}
        }
        if slept.elapsed() > pause + HALTED_MIN {
            // It was this process that stood still; the agents may have called all the time.
            engine.agents.excuse_silence();
            engine.fleet.lock().excuse_silence(engine.commands.clock.now_us());
        }
    }
    Ok(())
}

/// Takes in what was committed, and sends what it means, before anybody else can look at the fleet.
async fn fold(engine: &Arc<Engine>, head: i64) -> anyhow::Result<()> {
    loop {
        let from = engine.fleet.lock().position;
        if from >= head {
            return Ok(());
        }
        let page = engine.commands.log.read(from, PAGE_EVENTS).await?;
        let Some(last) = page.last().map(|event| event.position) else { return Ok(()) };
        {
            let mut fleet = engine.fleet.lock();
            for event in &page {
                take_in(engine, &mut fleet, event);
            }
            fleet.position = fleet.position.max(last);
        }
        engine.fleet.folded.send_replace(last);
    }
}

/// Takes an event in. What cannot be read now cannot be read the next time either: its job or its cluster is left
/// alone.
pub(super) fn take_in(engine: &Engine, fleet: &mut Fleet, event: &RecordedEvent) {
    match Change::of(event) {
        Ok(Some(change)) => {
            fleet.apply(&change, event.version, event.position, event.recorded_at_us);
            effects::after(engine, fleet, &change);
        }
        Ok(None) => {}
        Err(error) => {
            let why = format!("its event at position {} cannot be read: {error}", event.position);
            tracing::error!(stream = event.stream, "it is left alone: {why}");
            if let Some(job_id) = job::of_stream(&event.stream) {
                fleet.leave_job(job_id, why);
            } else if let Some(name) = ClusterName::of_stream(&event.stream) {
                fleet.leave_cluster(name, why);
            }
        }
    }
}

/// What became of what was said of nodes.
struct Heeded {
    /// Whether any of it is dealt with; there may be more.
    any: bool,
    /// Whether some of it waits, since it cannot be recorded now.
    waits: bool,
}

/// Does what was said of nodes calls for. It is forgotten only when that is recorded, or when it calls for nothing.
async fn heed(engine: &Arc<Engine>) -> Heeded {
    let (now_us, reported) = (engine.commands.clock.now_us(), engine.fleet.reported.first());
    let react = |event: NodeEvent| (event.node_id(), observe::react(&mut engine.fleet.lock(), event, now_us));
    let does = reported.into_iter().map(react).map(async |(node_id, action)| match action {
        Some(action) => (node_id, perform::one(engine, action).await),
        None => (node_id, Done::Nothing),
    });
    let mut heeded = Heeded { any: false, waits: false };
    for (node_id, done) in join_all(does).await {
        if done == Done::NotNow {
            heeded.waits = true;
        } else {
            engine.fleet.reported.done(node_id);
            heeded.any = true;
        }
    }
    heeded
}

fn look(engine: &Engine) -> Plan {
    let mut fleet = engine.fleet.lock();
    let now_us = engine.commands.clock.now_us();
    for (node_id, silent) in engine.agents.silences() {
        let silent_us = i64::try_from(silent.as_micros()).unwrap_or(i64::MAX);
        fleet.contacted(node_id, now_us.saturating_sub(silent_us));
    }
    let mut plan = scheduler::plan(&fleet, now_us);
    // What was said of a node says more than its silence.
    let is_reported =
        |action: &Action| matches!(action, Action::Fail { node_id, .. } if engine.fleet.reported.has(*node_id));
    plan.actions.retain(|action| !is_reported(action));
    plan
}
