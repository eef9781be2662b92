//! The loop: takes in, plans, carries out, sleeps until something happens.

use std::sync::Arc;
use std::time::Duration;

use runtime::Stopwatch;
use tokio::sync::broadcast::error::RecvError;

use super::parts::Engine;
use super::{effects, observe, perform};
use crate::providers::NodeEvent;
use crate::scheduler::{self, Plan};
use crate::stream::Change;

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
    engine.fleet.load(&engine.commands, &engine.agents.connected()).await?;
    let mut events = engine.provider.observe();
    effects::resume(&engine);
    let mut head = engine.commands.log.head();
    while !engine.commands.shutdown.is_requested() {
        let known = *head.borrow_and_update();
        fold(&engine, known).await?;
        let Plan { actions, next_us } = look(&engine);
        let is_stuck = !actions.is_empty();
        if is_stuck && perform::perform(&engine, actions).await {
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
                Ok(event) => heed(&engine, event).await,
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
                if let Some(change) = Change::of(event)? {
                    fleet.apply(&change, event.version, event.position, event.recorded_at_us);
                    effects::after(engine, &mut fleet, &change);
                }
            }
            fleet.position = fleet.position.max(last);
        }
        engine.fleet.folded.send_replace(last);
    }
}

/// Does what an event of the provider calls for.
async fn heed(engine: &Arc<Engine>, event: NodeEvent) {
    let now_us = engine.commands.clock.now_us();
    let action = observe::react(&mut engine.fleet.lock(), event, now_us);
    perform::perform(engine, action.into_iter().collect()).await;
}

fn look(engine: &Engine) -> Plan {
    let mut fleet = engine.fleet.lock();
    let now_us = engine.commands.clock.now_us();
    for (node_id, silent) in engine.agents.silences() {
        let silent_us = i64::try_from(silent.as_micros()).unwrap_or(i64::MAX);
        fleet.contacted(node_id, now_us.saturating_sub(silent_us));
    }
    scheduler::plan(&fleet, now_us)
}
