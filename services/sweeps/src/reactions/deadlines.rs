//! Ends sweeps and trials whose time is up: sleeps until the earliest deadline, woken by every change that may move
//! one.

use std::collections::BTreeMap;
use std::time::Duration;

use eventlog::{Context, Error};
use runtime::{Backoff, Shutdown};
use vocabulary::{Problem, SweepId};

use super::own_events::OwnEvents;
use crate::service::Core;
use crate::stream::stream_of;
use crate::sweep::{Command, Sweep};

/// The longest sleep: the machine's clock may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// Waits after failures of the log.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Microseconds after which a sweep that could not be read is looked at again.
const UNREADABLE_WAIT_US: i64 = 60_000_000;
/// The reaction's name, as the actor.
const NAME: &str = "deadlines";

/// Whether an event can move a deadline.
fn matters(kind: &str) -> bool {
    !matches!(kind, "ObservationRecorded" | "DecisionMade" | "TrialProposed" | "SweepWarned" | "SweepDescribed")
}

/// Watches the time until shutdown.
pub(super) async fn run(core: Core, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut events = OwnEvents::begin(&core.log, matters).await?;
    let mut deadlines: BTreeMap<SweepId, i64> = BTreeMap::new();
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    loop {
        let now_us = core.clock.now_us();
        let earliest = deadlines.values().min().copied();
        let sleep = earliest.map_or(SLEEP_MAX, |at| {
            Duration::from_micros(at.saturating_sub(now_us).max(0).unsigned_abs()).min(SLEEP_MAX)
        });
        tokio::select! {
            changed = events.next() => {
                for sweep in changed? {
                    look(&core, sweep, &mut deadlines).await?;
                }
            }
            () = tokio::time::sleep(sleep) => {
                let now_us = core.clock.now_us();
                let due: Vec<SweepId> =
                    deadlines.iter().filter(|(_, at)| **at <= now_us).map(|(sweep, _)| *sweep).collect();
                for sweep in due {
                    match check(&core, sweep).await {
                        Ok(()) => backoff.reset(),
                        Err(problem) => {
                            tracing::warn!(%sweep, "its time is up, but: {problem}");
                            if !backoff.wait_unless(&shutdown).await {
                                return Ok(());
                            }
                        }
                    }
                    look(&core, sweep, &mut deadlines).await?;
                }
            }
            () = shutdown.requested() => return Ok(()),
        }
    }
}

/// Brings a sweep's deadline up to date. One that cannot be read is looked at again later: the deadlines of all others
/// must not wait for it.
///
/// # Errors
/// When the log has ended.
async fn look(core: &Core, sweep_id: SweepId, deadlines: &mut BTreeMap<SweepId, i64>) -> anyhow::Result<()> {
    let next = match core.log.inspect::<Sweep, _>(&stream_of(sweep_id), |sweep, _| sweep.next_deadline_us()).await {
        Ok(next) => next,
        Err(error @ Error::Closed) => return Err(error.into()),
        Err(error) => {
            tracing::error!(%sweep_id, "its deadlines cannot be read and wait: {error}");
            Some(core.clock.now_us().saturating_add(UNREADABLE_WAIT_US))
        }
    };
    match next {
        Some(at) => deadlines.insert(sweep_id, at),
        None => deadlines.remove(&sweep_id),
    };
    Ok(())
}

/// Ends what has run out of time in a sweep.
///
/// # Errors
/// When the log does not take the command for now.
pub(crate) async fn check(core: &Core, sweep_id: SweepId) -> Result<(), Problem> {
    let context = Context::new(core.entropy.uuid(), format!("reaction:{NAME}"), String::new());
    let command = Command::CheckDeadlines { at: core.clock.now() };
    core.log.execute::<Sweep>(&stream_of(sweep_id), command, context).await.map_err(calls::problem)?;
    Ok(())
}
