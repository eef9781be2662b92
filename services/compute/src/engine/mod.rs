//! The scheduler's task: takes committed events in, sends what they mean to agents and to the provider, plans, and
//! carries the plan out.
//!
//! Effects follow from committed events only, and are sent again on each connection: a crash between an event and its
//! effect loses nothing. The task is woken by the log, by agents that come and go, and by the time that the plan
//! names.

mod effects;
mod perform;

pub(crate) use effects::{notice as notice_order, start as start_order, stop as stop_order};

use std::sync::Arc;
use std::time::Duration;

use runtime::Stopwatch;

use crate::core::Core;
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
pub(crate) async fn run(core: Arc<Core>) -> anyhow::Result<()> {
    core.load().await?;
    effects::resume(&core);
    let mut head = core.log.head();
    let mut failures = core.provider.failures();
    while !core.shutdown.is_requested() {
        let known = *head.borrow_and_update();
        fold(&core, known).await?;
        let Plan { actions, next_us } = look(&core);
        let is_stuck = !actions.is_empty();
        if is_stuck && perform::perform(&core, actions).await {
            continue;
        }
        let now_us = core.clock.now_us();
        let until = next_us.map_or(SLEEP_MAX, |next| Duration::from_micros((next - now_us).max(0).unsigned_abs()));
        let pause = if is_stuck { STUCK_PAUSE } else { until.min(SLEEP_MAX) };
        let slept = Stopwatch::start();
        tokio::select! {
            changed = head.changed() => changed.map_err(|_| anyhow::anyhow!("the log has stopped"))?,
            () = core.wake.notified() => {}
            Ok(failure) = failures.recv() => perform::node_failed(&core, failure),
            () = tokio::time::sleep(pause) => {}
            () = core.shutdown.requested() => {}
        }
        if slept.elapsed() > pause + HALTED_MIN {
            // It was this process that stood still; the agents may have called all the time.
            core.agents.excuse_silence();
            core.fleet().excuse_silence(core.clock.now_us());
        }
    }
    Ok(())
}

/// Takes in what was committed, and sends what it means, before anybody else can look at the fleet.
async fn fold(core: &Arc<Core>, head: i64) -> anyhow::Result<()> {
    loop {
        let from = core.fleet().position;
        if from >= head {
            return Ok(());
        }
        let page = core.log.read(from, PAGE_EVENTS).await?;
        let Some(last) = page.last().map(|event| event.position) else { return Ok(()) };
        {
            let mut fleet = core.fleet();
            for event in &page {
                if let Some(change) = Change::of(event)? {
                    fleet.apply(&change, event.version, event.position, event.recorded_at_us);
                    effects::after(core, &fleet, &change);
                }
            }
            fleet.position = fleet.position.max(last);
        }
        core.folded.send_replace(last);
    }
}

fn look(core: &Core) -> Plan {
    let mut fleet = core.fleet();
    let now_us = core.clock.now_us();
    for (node_id, silent) in core.agents.silences() {
        let silent_us = i64::try_from(silent.as_micros()).unwrap_or(i64::MAX);
        fleet.heard(node_id, now_us.saturating_sub(silent_us));
    }
    scheduler::plan(&fleet, now_us)
}
