//! External mode: trials are asked for and told by whoever runs them. An ask, and a tell with all that follows from
//! it, is one append each; a lease that has run out is seen at the next ask.

use jiff::Timestamp;
use tuning::{PolicySpec, Promotion, Proposal, Report, Verdict};
use vocabulary::{Problem, RunId};

use super::breed::Exploit;
use super::decide::{Decided, Rejection, RunEnd};
use super::end::Ending;
use super::lease::{ExternalTrial, Lease, Told};
use super::model::{Made, Suggested};
use super::propose::{Ground, Planned, proposals};
use super::state::{Status, Submitted, Sweep};
use super::trial::Trial;
use super::words::{AttemptEnd, CompletedReason, Outcome, Point, StopBy, TrialEnd};
use super::{
    Basis, DecisionMade, ObservationRecorded, SweepEvent, SweepStarted, TrialLeaseRenewed, TrialLeased, TrialPaused,
    TrialProposed, TrialStopRequested,
};
use crate::document::OnNonFinite;

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
    /// Now.
    pub at: Timestamp,
}

/// What is told of a trial.
#[derive(Clone, Debug, PartialEq)]
pub enum Saying {
    /// A value of the watched metric.
    Value {
        /// Its name; the last one + 1 when absent.
        step: Option<i64>,
        /// May be NaN or infinite.
        value: f64,
        /// There will be no more.
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
    pub saying: Saying,
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
        let (made, exhausted) = proposals(&self.ground_of(submitted, most), most);
        let new = |planned: Planned| New { proposal: planned.proposal, made: None, exploit: planned.exploit };
        (made.into_iter().map(new).collect(), exhausted)
    }

    fn ground_of(&self, submitted: &Submitted, allowed: u32) -> Ground {
        Ground {
            spec: std::sync::Arc::clone(&submitted.spec),
            seed: submitted.seed,
            from: self.proposals(),
            next_index: self.next_index,
            taken: std::sync::Arc::clone(&self.taken),
            allowed,
            inheritance: std::sync::Arc::clone(&self.inheritance),
            nursery: self.nursery(),
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
        let again = expired.take(ask.run_ids.len()).filter_map(|&(_, trial)| {
            let attempt = self.trials.get(trial as usize)?.attempt() + 1;
            let lease = Lease::new(&ask.worker, ask.lease_seconds, ask.at);
            Some(TrialLeased { trial, attempt, lease, at: ask.at }.into())
        });
        again.collect()
    }

    /// Takes in what is told of a trial, and all that follows.
    pub(super) fn tell(&self, tell: &Tell) -> Decided {
        let submitted = self.external_of(&tell.workspace)?;
        let trial = self.held(tell.trial, tell.attempt)?;
        match &tell.saying {
            Saying::Value { step, value, last } => self.told(submitted, trial, tell, (*step, *value, *last)),
            Saying::Failed { reason } => {
                let said = if reason.is_empty() { "failed" } else { reason.as_str() };
                let end = failed(said);
                let ending = Ending { trial: tell.trial, end: &end, report: None };
                let attempt_end =
                    AttemptEnd { reason: said.to_owned(), stderr_tail: reason.clone(), ..attempt_end("failed") };
                Ok(self.ended(submitted, trial, ending, &run_end(tell, attempt_end)))
            }
        }
    }

    /// A value: one report on the clock, the policy's verdict, and the end if it is the last one or the trial is
    /// stopped. There is no job to wait for, so a stopped trial ends at once.
    fn told(
        &self,
        submitted: &Submitted,
        trial: &Trial,
        tell: &Tell,
        (step, value, last): (Option<i64>, f64, bool),
    ) -> Decided {
        let index = tell.trial;
        let step = step.unwrap_or_else(|| self.curves.next_step(index));
        let recorded = self.curves.value_at(index, tell.attempt, step);
        if let Some(recorded) = recorded.filter(|recorded| !same(*recorded, value)) {
            return Err(conflicting(&submitted.spec.objective.primary_metric, step, recorded, value).into());
        }
        let completes = |report: Option<&Report>| {
            let best = report.map_or_else(|| self.curves.standing(index), |report| self.curves.standing_after(report));
            let end = TrialEnd::Completed { no_objective: best.is_none(), max_resource: false };
            let ending = Ending { trial: index, end: &end, report };
            self.ended(submitted, trial, ending, &run_end(tell, attempt_end("completed")))
        };
        if recorded.is_some() {
            // Told before: no second interval, but a sign of life, or the end.
            return Ok(if last { completes(None) } else { vec![renewal(trial, index, tell.attempt, tell.at)] });
        }
        let (attempt, position) = (tell.attempt, self.version.unsigned_abs() + 1);
        let report = Report { trial: index, attempt, step, value, position };
        let mut events = vec![observed(submitted, trial, tell, &report, last)];
        if !value.is_finite() && submitted.spec.objective.on_non_finite == OnNonFinite::Fail {
            let end = failed("non_finite");
            let ending = Ending { trial: index, end: &end, report: Some(&report) };
            let attempt_end = AttemptEnd { reason: "non_finite".to_owned(), ..attempt_end("failed") };
            events.extend(self.ended(submitted, trial, ending, &run_end(tell, attempt_end)));
        } else if self.reaches_target(value) {
            events.extend(self.found(submitted, trial, tell, &report, last));
        } else if last {
            events.extend(completes(Some(&report)));
        } else {
            events.extend(self.judged(submitted, trial, tell, &report));
        }
        Ok(events)
    }

    /// What the policy says to a value on the way. Its stop is the second event of the append, and the end follows it
    /// at once: that is how the decision's id is known without being written.
    fn judged(&self, submitted: &Submitted, trial: &Trial, tell: &Tell, report: &Report) -> Vec<SweepEvent> {
        if submitted.spec.policy == PolicySpec::None {
            return Vec::new();
        }
        match self.allowed_verdict(self.curves.preview(report)) {
            Verdict::Stop(decision) => {
                let stop = TrialStopRequested {
                    workspace: submitted.workspace.clone(),
                    trial: report.trial,
                    run_id: trial.run_id,
                    by: StopBy::Policy,
                    decision: Some(decision),
                    at: tell.at,
                };
                let end = TrialEnd::EarlyStopped { decision: String::new() };
                let ending = Ending { trial: report.trial, end: &end, report: Some(report) };
                let mut events = vec![stop.into()];
                events.extend(self.ended(submitted, trial, ending, &run_end(tell, attempt_end("canceled"))));
                events
            }
            Verdict::Keep(decision) if submitted.spec.record_keeps => {
                vec![DecisionMade { trial: report.trial, decision }.into()]
            }
            Verdict::Pause(decision) => {
                let (workspace, run_id) = (submitted.workspace.clone(), trial.run_id);
                let (trial, rung) = (report.trial, decision.rung.unwrap_or_default());
                vec![TrialPaused { workspace, trial, run_id, rung, decision, at: tell.at }.into()]
            }
            Verdict::Skip { interval: Some(interval), .. }
                if submitted.spec.policy.max_resource().is_some_and(|max| interval >= max) =>
            {
                let no_objective = self.curves.standing_after(report).is_none();
                let end = TrialEnd::Completed { no_objective, max_resource: true };
                let ending = Ending { trial: report.trial, end: &end, report: Some(report) };
                let by = StopBy::MaxResource.as_str().to_owned();
                let attempt_end = AttemptEnd { by, ..attempt_end("canceled") };
                self.ended(submitted, trial, ending, &run_end(tell, attempt_end))
            }
            Verdict::Keep(_) | Verdict::Skip { .. } => Vec::new(),
        }
    }

    /// The value is the one that the sweep looks for: every trial ends with it, and the sweep.
    fn found(&self, submitted: &Submitted, trial: &Trial, tell: &Tell, report: &Report, last: bool) -> Vec<SweepEvent> {
        let by = StopBy::TargetReached.as_str().to_owned();
        let (end, attempt_end) = if last {
            (TrialEnd::Completed { no_objective: false, max_resource: false }, attempt_end("completed"))
        } else {
            (TrialEnd::Canceled { by: by.clone() }, AttemptEnd { by, ..attempt_end("canceled") })
        };
        let ending = Ending { trial: report.trial, end: &end, report: Some(report) };
        let mut events = vec![self.end_event(submitted, trial, ending, &run_end(tell, attempt_end))];
        let outcome = Outcome::Completed { reason: CompletedReason::TargetReached };
        events.extend(self.begin_ending(outcome, Some(StopBy::TargetReached), Some(ending), tell.at));
        events
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
            let state = end.state().as_str();
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

fn observed(submitted: &Submitted, trial: &Trial, tell: &Tell, report: &Report, last: bool) -> SweepEvent {
    let told = Told {
        workspace: submitted.workspace.clone(),
        run_id: trial.run_id,
        metric: submitted.spec.objective.primary_metric.clone(),
        last,
        lease_expires_at: trial.lease.as_ref().map_or(tell.at, |lease| lease.renewed(tell.at)),
    };
    ObservationRecorded {
        trial: report.trial,
        attempt: report.attempt,
        points: vec![Point { step: report.step, value: report.value }],
        after_stop: false,
        told: Some(told),
    }
    .into()
}

fn renewal(trial: &Trial, index: u32, attempt: u32, at: Timestamp) -> SweepEvent {
    let expires_at = trial.lease.as_ref().map_or(at, |lease| lease.renewed(at));
    TrialLeaseRenewed { trial: index, attempt, expires_at }.into()
}

fn failed(reason: &str) -> TrialEnd {
    TrialEnd::Failed { phase: "run".to_owned(), reason: reason.to_owned(), exit_code: None, signal: None }
}

fn attempt_end(outcome: &str) -> AttemptEnd {
    AttemptEnd { outcome: outcome.to_owned(), ..AttemptEnd::default() }
}

fn run_end(tell: &Tell, end: AttemptEnd) -> RunEnd {
    let (trial, attempt, at) = (tell.trial, tell.attempt, tell.at);
    RunEnd { trial, attempt, end, decision: String::new(), metric_names: Vec::new(), at }
}

/// All NaN are one value.
fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

fn conflicting(metric: &str, step: i64, recorded: f64, received: f64) -> Problem {
    let detail =
        format!("{metric} at step {step} is {recorded}, now {received} was told; tell a new step for a new value");
    Problem::conflict("ConflictingPoint", detail).with("metric", metric).with("step", step)
}
