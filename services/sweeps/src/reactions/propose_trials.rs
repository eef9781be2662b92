//! Fills free places of running sweeps: promotes trials that wait at a rung, then asks the sampler, beside the log, and
//! executes what it says.
//!
//! The command's id follows from the sweep and the proposal's number, and the decider refuses what was made from an
//! older state, so a crash or a second start never gives a trial too many.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use eventlog::{Context, ExecuteError};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use runtime::{Backoff, Shutdown};
use vocabulary::{Problem, SweepId};

use super::own_events::OwnEvents;
use crate::fault::{NO_PROPOSAL, is_fault, note};
use crate::service::Core;
use crate::stream::stream_of;
use crate::sweep::{Command, Planned, ProposalBasis, Rejection, Sweep};

/// Proposals of one command: a few make a good commit, many would hold up other sweeps.
const AT_ONCE: u32 = 64;
/// Sweeps that propose at the same time; within one it is one after another.
const SWEEPS_AT_ONCE: usize = 8;
/// Waits between tries when the log is overloaded or unavailable.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Tries of one turn while the log is what is missing: then others get the place, and it has another turn later.
const TRIES_MAX: u32 = 8;
/// Between turns of sweeps whose sampler or whose log has failed, if nothing happens in them meanwhile.
const BROKEN_RETRY: Duration = Duration::from_secs(10);
/// The reaction's name, in command ids and as the actor.
const NAME: &str = "propose_trials";
/// The same for promotions.
const PROMOTE: &str = "promote_trials";

/// Whether an event can make room for a proposal.
fn matters(kind: &str) -> bool {
    !matches!(kind, "ObservationRecorded" | "DecisionMade" | "TrialStateChanged" | "TrialStopRequested" | "SweepWarned")
}

/// Whose turn it is: a sweep has one at a time, and one more when something happens in it meanwhile. They go on across
/// wake-ups, so that a slow one takes its own place and nobody else's.
struct Turns {
    core: Core,
    running: FuturesUnordered<BoxFuture<'static, (SweepId, bool)>>,
    under_way: BTreeSet<SweepId>,
    /// In the order in which they were woken; each is there once.
    waiting: VecDeque<SweepId>,
    woken: BTreeSet<SweepId>,
}

impl Turns {
    fn new(core: Core) -> Self {
        Self {
            core,
            running: FuturesUnordered::new(),
            under_way: BTreeSet::new(),
            waiting: VecDeque::new(),
            woken: BTreeSet::new(),
        }
    }

    fn wake(&mut self, sweep: SweepId) {
        if self.woken.insert(sweep) {
            self.waiting.push_back(sweep);
        }
    }

    /// Begins as many turns as there are places for.
    fn begin(&mut self) {
        while self.running.len() < SWEEPS_AT_ONCE {
            let Some(place) = self.waiting.iter().position(|sweep| !self.under_way.contains(sweep)) else { return };
            let Some(sweep) = self.waiting.remove(place) else { return };
            self.woken.remove(&sweep);
            self.under_way.insert(sweep);
            let core = self.core.clone();
            self.running.push(Box::pin(async move { (sweep, keep_filling(&core, sweep).await) }));
        }
    }

    /// The next turn that ends, and whether its sweep has what it may have; never while there is none.
    async fn next(&mut self) -> (SweepId, bool) {
        let Some((sweep, fills)) = self.running.next().await else { return std::future::pending().await };
        self.under_way.remove(&sweep);
        (sweep, fills)
    }
}

/// Proposes until shutdown.
pub(crate) async fn run(core: Core, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut events = OwnEvents::begin(&core.log, matters).await?;
    let mut broken: BTreeSet<SweepId> = BTreeSet::new();
    let mut again = tokio::time::interval(BROKEN_RETRY);
    let mut turns = Turns::new(core);
    loop {
        turns.begin();
        tokio::select! {
            sweeps = events.next() => sweeps?.into_iter().for_each(|sweep| turns.wake(sweep)),
            _ = again.tick(), if !broken.is_empty() => {
                std::mem::take(&mut broken).into_iter().for_each(|sweep| turns.wake(sweep));
            }
            (sweep, fills) = turns.next() => {
                if fills {
                    broken.remove(&sweep)
                } else {
                    broken.insert(sweep)
                };
            }
            () = shutdown.requested() => return Ok(()),
        }
    }
}

/// Tries again for a while when the log is what is missing; false when something else is, or the log still is. What
/// else is missing stands in the sweep's log. Both are tried again later: one sweep that cannot go on must not hold up
/// the others.
pub(crate) async fn keep_filling(core: &Core, sweep: SweepId) -> bool {
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    while backoff.failures() < TRIES_MAX {
        match fill(core, sweep).await {
            Ok(()) => return true,
            Err(problem) if is_fault(&problem) => {
                note(&core.log, core.clock.as_ref(), core.entropy.as_ref(), sweep, NO_PROPOSAL, &problem).await;
                return false;
            }
            Err(problem) => tracing::warn!(%sweep, "no proposal for now: {problem}"),
        }
        backoff.wait().await;
    }
    false
}

/// Proposes until no proposal is allowed.
///
/// # Errors
/// When the log does not answer for now.
pub(crate) async fn fill(core: &Core, sweep_id: SweepId) -> Result<(), Problem> {
    let stream = stream_of(sweep_id);
    let context_of = |from: u32| {
        let command_id = eventlog::command_id(&stream, i64::from(from), NAME);
        let mut context = Context::new(command_id, format!("reaction:{NAME}"), String::new());
        context.causation = Some(format!("{stream}:{from}"));
        context
    };
    loop {
        promote(core, sweep_id, &stream).await?;
        let looked = core.log.inspect::<Sweep, _>(&stream, |sweep, _| (sweep.basis(), sweep.asks_its_model())).await;
        let (basis, modelled) = looked.map_err(|error| error.problem())?;
        if modelled {
            return core.tuners.fill(sweep_id, AT_ONCE as usize, context_of).await;
        }
        let Some(basis) = basis else { return Ok(()) };
        let from = basis.from;
        let command = next(core, basis).await?;
        match core.log.execute::<Sweep>(&stream, command, context_of(from)).await {
            Ok(committed) if committed.repeated => {
                // The log has this proposal and the state must show it; anything else would go round for ever.
                tracing::error!(%sweep_id, from, "a proposal is in the log but not in the state");
                return Ok(());
            }
            Ok(_) => {}
            // The state has moved on since it was looked at: look again.
            Err(ExecuteError::Rejected(Rejection::NothingToPropose)) => tokio::task::yield_now().await,
            Err(error) => return Err(calls::problem(error)),
        }
    }
}

/// Lets trials that wait at a rung go on as long as there is room, which they take before new ones.
async fn promote(core: &Core, sweep_id: SweepId, stream: &str) -> Result<(), Problem> {
    loop {
        let look = |sweep: &Sweep, _| sweep.has_waiting_work().then_some(sweep.version);
        let version = core.log.inspect::<Sweep, _>(stream, look).await.map_err(|error| error.problem())?;
        let Some(version) = version else { return Ok(()) };
        let command = Command::Promote { at: core.clock.now() };
        let id = eventlog::command_id(stream, version, PROMOTE);
        let context = Context::new(id, format!("reaction:{PROMOTE}"), String::new());
        let committed = core.log.execute::<Sweep>(stream, command, context).await.map_err(calls::problem)?;
        if committed.repeated {
            // The log has this and the state must show it; anything else would go round for ever.
            tracing::error!(%sweep_id, version, "a promotion is in the log but not in the state");
            return Ok(());
        }
    }
}

/// What the sampler says. It may take a while in a space that is nearly used up, so it does not hold up the runtime.
async fn next(core: &Core, basis: ProposalBasis) -> Result<Command, Problem> {
    let from = basis.from;
    let sampler = core.sampler;
    let made = runtime::background::run(move || sampler(&basis, AT_ONCE)).await;
    let (made, _) = made.map_err(|error| Problem::internal(format!("the sampler broke: {error}")))?;
    let at = core.clock.now();
    if made.is_empty() {
        return Ok(Command::Exhaust { from, at });
    }
    let trials =
        made.into_iter().map(|Planned { proposal, exploit }| core.new_trial(proposal, None, exploit.is_some()));
    Ok(Command::Propose { from, trials: trials.collect(), at })
}
