//! External mode: trials are asked for and told by whoever runs them. An ask, and a tell with all that follows from
//! it, is one append each; a lease that has run out is seen at the next ask.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tuning::{Promotion, Proposal};
use vocabulary::{Problem, RunId};

use super::decide::{Decided, Rejection, RunEnd};
use super::end::Ending;
use super::lease::{ExternalTrial, Lease};
use super::model::{Made, Suggested};
use super::population::Exploit;
use super::propose::{Planned, ProposalBasis, proposals};
use super::state::{Submitted, Sweep};
use super::status::{CompletedReason, Outcome, Status};
use super::tell::{TellPoint, by_metric, same};
use super::trial::Trial;
use super::trial_end::{AttemptEnd, TrialEnd};
use super::{Basis, SweepEvent, SweepStarted, TrialLeaseRenewed, TrialLeased, TrialProposed};

/// Somebody wants trials to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Whose sweep it must be.
    pub workspace: String,
    /// As it calls itself.
    pub worker: String,
    /// How long it may be silent.
    pub lease_seconds: f64,
    /// A run for each trial that is wanted: as many may come, fewer will if there are not so many.
    pub run_ids: Vec<RunId>,
    /// What the sweep's model suggests, in order; empty without a model.
    pub suggested: Vec<Suggested>,
    /// The number for which the model has nothing to suggest, nor after it.
    pub exhausted: Option<u32>,
    /// Since when the holders of leases could be heard.
    pub listening_since: Timestamp,
    /// Now.
    pub at: Timestamp,
}

/// What is told of a trial.
#[derive(Clone, Debug, PartialEq)]
pub enum TellContent {
    /// A value of the watched metric.
    Value {
        /// Its name; the last one + 1 when absent.
        step: Option<i64>,
        /// May be NaN or infinite.
        value: f64,
        /// There will be no more.
        last: bool,
    },
    /// Values of several watched metrics at once.
    Values {
        /// See `Value`.
        step: Option<i64>,
        /// By metric.
        values: BTreeMap<String, f64>,
        /// See `Value`.
        last: bool,
    },
    /// It could not be evaluated.
    Failed {
        /// Why, in the caller's words.
        reason: String,
    },
}

/// Whoever holds a trial tells what it gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Tell {
    /// Whose sweep it must be.
    pub workspace: String,
    /// Which trial.
    pub trial: u32,
    /// As which attempt.
    pub attempt: u32,
    /// What.
    pub content: TellContent,
    /// Now.
    pub at: Timestamp,
}

/// Whoever holds a trial is still at it.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// Whose sweep it must be.
    pub workspace: String,
    /// Which trial.
    pub trial: u32,
    /// As which attempt.
    pub attempt: u32,
    /// Now.
    pub at: Timestamp,
}

/// Whether a sweep has trials to offer, or why not.
pub fn offer_state(sweep: &Sweep) -> &'static str {
    match sweep.status {
        Status::Queued | Status::Running if sweep.allowed() > 0 || sweep.promotion().is_some() => "running",
        Status::Queued | Status::Running => "limit",
        Status::Paused => "paused",
        Status::Completing(_) => "completing",
        Status::Completed(_) => "completed",
        Status::Failed(..) => "failed",
        Status::Canceling(_) => "canceling",
        Status::Canceled(_) => "canceled",
    }
}

impl Sweep {
    /// Offers trials whose lease has run out again, the longest expired first, then new ones as far as the limits
    /// allow.
    pub(super) fn ask(&self, ask: &Ask) -> Decided {
        let submitted = self.external_of(&ask.workspace)?;
        let mut events = self.lost(ask);
        let wanted = ask.run_ids.get(events.len()..).unwrap_or_default();
        // Whoever waits at a rung and may go on takes a place before a new trial.
        let promotions = self.promotions(wanted.len());
        let promoted = promotions.len();
        for promotion in promotions {
            events.extend(self.goes_on(submitted, ask, promotion));
        }
        let wanted = wanted.get(promoted..).unwrap_or_default();
        let most = self.allowed_beside(promoted).min(u32::try_from(wanted.len()).unwrap_or(u32::MAX));
        if most == 0 {
            return Ok(events);
        }
        let (made, exhausted) = self.made(submitted, ask, most);
        if made.is_empty() && !exhausted {
            // What has to be offered again does not need the model.
            return if events.is_empty() { Err(Rejection::NeedsSuggestion) } else { Ok(events) };
        }
        if self.status == Status::Queued && !made.is_empty() {
            events.push(SweepStarted { workspace: submitted.workspace.clone(), at: ask.at }.into());
        }
        let nothing_new = made.is_empty();
        for ((trial, new), run_id) in (self.proposals()..).zip(made).zip(wanted) {
            events.push(offered(submitted, ask, trial, *run_id, new).into());
        }
        // With new trials in the same answer the next ask finds out again.
        if exhausted && nothing_new {
            let outcome = Outcome::Completed { reason: CompletedReason::SpaceExhausted };
            events.extend(self.begin_ending(outcome, None, None, ask.at));
        }
        Ok(events)
    }

    /// A trial that goes on from its rung, held by whoever asks.
    fn goes_on(&self, submitted: &Submitted, ask: &Ask, promotion: Promotion) -> Vec<SweepEvent> {
        let Some(promoted) = self.promoted(submitted, promotion, ask.at) else { return Vec::new() };
        let lease = Lease::new(&ask.worker, ask.lease_seconds, ask.at);
        let leased = TrialLeased { trial: promoted.trial, attempt: promoted.attempt, lease, at: ask.at };
        vec![promoted.into(), leased.into()]
    }

    /// The next proposals, at most `most`, and whether there are no more after them.
    fn made(&self, submitted: &Submitted, ask: &Ask, most: u32) -> (Vec<New>, bool) {
        if self.is_modelled() {
            let usable = self.usable(&ask.suggested, most);
            let taken = ask.suggested.iter().take(usable).cloned();
            let exhausted = ask.exhausted == u32::try_from(usable).ok().map(|usable| self.proposals() + usable);
            let new = taken.map(|new| New { proposal: new.proposal, made: Some(new.made), exploit: None });
            return (new.collect(), exhausted);
        }
        let (made, exhausted) = proposals(&self.basis_of(submitted, most), most);
        let new = |planned: Planned| New { proposal: planned.proposal, made: None, exploit: planned.exploit };
        (made.into_iter().map(new).collect(), exhausted)
    }

    fn basis_of(&self, submitted: &Submitted, allowed: u32) -> ProposalBasis {
        ProposalBasis {
            spec: std::sync::Arc::clone(&submitted.spec),
            seed: submitted.seed,
            from: self.proposals(),
            next_index: self.next_index,
            taken: std::sync::Arc::clone(&self.taken),
            allowed,
            inheritance: std::sync::Arc::clone(&self.inheritance),
            population: self.population(),
        }
    }

    /// Trials whose holder has fallen silent, for somebody else. A paused sweep offers nothing; one that completes
    /// waits for just these.
    fn lost(&self, ask: &Ask) -> Vec<SweepEvent> {
        if !matches!(self.status, Status::Running | Status::Completing(Outcome::Completed { .. })) {
            return Vec::new();
        }
        let now_us = ask.at.as_microsecond();
        let expired = self.leases.iter().take_while(|(expires_us, _)| *expires_us <= now_us);
        let lost = expired.filter_map(|&(_, trial)| {
            let held = self.trials.get(trial as usize)?;
            let is_over = held.lease.as_ref()?.is_over(ask.at, ask.listening_since);
            is_over.then(|| (trial, held.attempt() + 1))
        });
        let again = lost.take(ask.run_ids.len()).map(|(trial, attempt)| {
            let lease = Lease::new(&ask.worker, ask.lease_seconds, ask.at);
            TrialLeased { trial, attempt, lease, at: ask.at }.into()
        });
        again.collect()
    }

    /// Takes in what is told of a trial, and all that follows.
    pub(super) fn tell(&self, tell: &Tell) -> Decided {
        let submitted = self.external_of(&tell.workspace)?;
        if self.has_ended_so(submitted, tell) {
            return Ok(Vec::new());
        }
        let trial = self.held(tell.trial, tell.attempt)?;
        match &tell.content {
            TellContent::Value { step, value, last } => {
                let point = TellPoint { step: *step, value: Some(*value), others: Vec::new(), last: *last };
                self.tell_values(submitted, trial, tell, point)
            }
            TellContent::Values { step, values, last } => {
                self.tell_values(submitted, trial, tell, by_metric(submitted, *step, values, *last)?)
            }
            TellContent::Failed { reason } => {
                let short = if reason.is_empty() { "failed" } else { reason.as_str() };
                let end = failed(short);
                let ending = Ending { trial: tell.trial, end: &end, report: None, values: None };
                let attempt_end =
                    AttemptEnd { reason: short.to_owned(), stderr_tail: reason.clone(), ..attempt_end("failed") };
                Ok(self.ended(submitted, trial, ending, &run_end(tell, attempt_end)))
            }
        }
    }

    /// Whether the trial has ended with just this: whoever got no answer says it again, and need not know whether the
    /// first time arrived.
    fn has_ended_so(&self, submitted: &Submitted, tell: &Tell) -> bool {
        let Some(trial) = self.trials.get(tell.trial as usize).filter(|trial| trial.attempt() == tell.attempt) else {
            return false;
        };
        let (Some(end), Some(attempt_end)) =
            (&trial.end, trial.attempts.last().and_then(|attempt| attempt.end.as_ref()))
        else {
            return false;
        };
        let primary = |step: Option<i64>, value: f64| {
            let recorded = match step {
                Some(step) => self.curves.value_at(tell.trial, tell.attempt, step),
                None => trial.last_value,
            };
            recorded.is_some_and(|recorded| same(recorded, value))
        };
        let is_completed = attempt_end.outcome == "completed";
        match &tell.content {
            TellContent::Value { step, value, last: true } => is_completed && primary(*step, *value),
            TellContent::Values { step, values, last: true } => {
                let watched = submitted.spec.watched();
                let first = submitted.spec.objective.primary_metric.as_str();
                let recorded = |name: &str| {
                    let place = watched.iter().position(|watched| *watched == name)?;
                    trial.values.get(place).copied().flatten()
                };
                let is_same = |(name, value): (&String, &f64)| {
                    if name == first { primary(*step, *value) } else { recorded(name).is_some_and(|r| same(r, *value)) }
                };
                is_completed && values.iter().all(is_same)
            }
            TellContent::Failed { reason } => {
                let short = if reason.is_empty() { "failed" } else { reason.as_str() };
                *end == failed(short) && attempt_end.reason == short
            }
            TellContent::Value { .. } | TellContent::Values { .. } => false,
        }
    }

    /// Notes a sign of life.
    pub(super) fn heartbeat(&self, heartbeat: &Heartbeat) -> Decided {
        self.external_of(&heartbeat.workspace)?;
        let Heartbeat { trial: index, attempt, at, .. } = *heartbeat;
        let trial = self.held(index, attempt)?;
        Ok(vec![renewal(trial, index, attempt, at)])
    }

    /// The sweep of a workspace, when its trials are asked for and told.
    fn external_of(&self, workspace: &str) -> Result<&Submitted, Rejection> {
        let submitted = self.known()?;
        if submitted.workspace != workspace {
            return Err(Rejection::Absent);
        }
        if !submitted.spec.is_external() {
            let message = "the sweep is managed: its trials run on its cluster; ask and tell need mode external";
            return Err(Problem::new(422, "NotExternal", message).into());
        }
        Ok(submitted)
    }

    /// A trial, when this attempt may speak for it.
    fn held(&self, index: u32, attempt: u32) -> Result<&Trial, Rejection> {
        let trial = self.trial(index)?;
        let current = trial.attempt();
        if attempt < current {
            let detail = format!(
                "attempt {attempt} of trial {index} may not speak any more: its lease ran out and attempt {current} \
                 holds the trial; ask for another one"
            );
            return Err(Problem::conflict("StaleAttempt", detail).with("current_attempt", current).into());
        }
        if let Some(end) = &trial.end {
            let state = end.state().to_string();
            let detail = format!("trial {index} has ended ({state}) and takes nothing more");
            return Err(Problem::conflict("RunTerminal", detail).with("state", state).into());
        }
        if trial.paused.is_some() {
            let rung = self.curves.paused_at(index).unwrap_or_default();
            let detail = format!(
                "trial {index} waits at rung {rung} and takes nothing now; ask again: it is offered when it is promoted"
            );
            return Err(Problem::conflict("TrialPaused", detail).with("rung", rung).into());
        }
        if attempt > current {
            let detail = format!("attempt {attempt} of trial {index} was never offered; it is at attempt {current}");
            return Err(Problem::conflict("UnknownAttempt", detail).with("current_attempt", current).into());
        }
        Ok(trial)
    }
}

/// A proposal for whoever asks.
struct New {
    proposal: Proposal,
    made: Option<Made>,
    exploit: Option<Exploit>,
}

fn offered(submitted: &Submitted, ask: &Ask, trial: u32, run_id: RunId, new: New) -> TrialProposed {
    let New { proposal, made, exploit } = new;
    let external = ExternalTrial {
        experiment: submitted.spec.experiment.clone(),
        run_name: format!("{}-{trial}", submitted.name),
        lease: Lease::new(&ask.worker, ask.lease_seconds, ask.at),
    };
    TrialProposed {
        workspace: submitted.workspace.clone(),
        trial,
        run_id,
        draws: proposal.draws,
        sampler_index: proposal.index,
        redraw: proposal.redraw,
        sampler_version: tuning::SAMPLER_VERSION,
        basis: Basis { model: made.as_ref().map(|made| made.basis), imported: false, exploit: exploit.map(Box::new) },
        explained: made.map(|made| made.explained),
        job: None,
        external: Some(external),
        at: ask.at,
    }
}

pub(super) fn renewal(trial: &Trial, index: u32, attempt: u32, at: Timestamp) -> SweepEvent {
    let expires_at = trial.lease.as_ref().map_or(at, |lease| lease.renewed(at));
    TrialLeaseRenewed { trial: index, attempt, expires_at }.into()
}

pub(super) fn failed(reason: &str) -> TrialEnd {
    TrialEnd::Failed { phase: "run".to_owned(), reason: reason.to_owned(), exit_code: None, signal: None }
}

pub(super) fn attempt_end(outcome: &str) -> AttemptEnd {
    AttemptEnd { outcome: outcome.to_owned(), ..AttemptEnd::default() }
}

pub(super) fn run_end(tell: &Tell, end: AttemptEnd) -> RunEnd {
    let (trial, attempt, at) = (tell.trial, tell.attempt, tell.at);
    RunEnd { trial, attempt, end, decision: String::new(), metric_names: Vec::new(), at }
}
