//! What becomes of the trials' runs: their states, the values of the watched metric, their ends.

use contracts::compute::JobEnd;
use contracts::feed::Fact;
use contracts::job::Word;
use contracts::runs as wire;
use eventlog::{EventLog, ExecuteError};
use feed::{ReactError, Reaction};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use prost::Message;
use vocabulary::SweepId;
use vocabulary::job::{EndPhase, Outcome, StopBy};

use crate::stream::decision_id;
use crate::stream::stream_of;
use crate::sweep::{
    AttemptEnd, Command, NamedPoint, Observation, Point, Rejection, RunEnd, RunMove, Sweep, TrialState,
};
use crate::views;

/// The story.
pub(crate) struct FollowRuns {
    /// The service's log.
    pub log: EventLog,
}

impl Reaction for FollowRuns {
    fn name(&self) -> &'static str {
        "follow_runs"
    }

    fn service(&self) -> &'static str {
        "runs"
    }

    fn handle<'a>(&'a self, fact: &'a Fact) -> BoxFuture<'a, Result<(), ReactError>> {
        Box::pin(async move {
            match fact.r#type.as_str() {
                "RunStateChanged" => self.moved(fact, decode(fact)?).await,
                "MetricReported" => self.reported(fact, decode(fact)?).await,
                "MetricNameSeen" => self.seen(fact, decode(fact)?).await,
                "RunEnded" => self.ended(fact, decode(fact)?).await,
                _ => Ok(()),
            }
        })
    }
}

impl FollowRuns {
    async fn moved(&self, fact: &Fact, run: wire::RunStateChanged) -> Result<(), ReactError> {
        let Some((sweep_id, trial)) = trial_of(&run.sweep_id, run.trial_index) else { return Ok(()) };
        // A state of a newer release: what follows it says where the run is.
        let Ok(Some(state)) = TrialState::read(run.state_kind, &run.state) else {
            return Err(ReactError::Unknown(format!("a run's state '{}'", run.state)));
        };
        if state.is_terminal() {
            return Ok(());
        }
        let (attempt, node, at) = (run.attempt, run.node_id, at(fact));
        let moved = RunMove { trial, attempt, state, node, end: run.end.map(attempt_end), at };
        self.execute(fact, sweep_id, Command::Move(moved)).await
    }

    async fn reported(&self, fact: &Fact, report: wire::MetricReported) -> Result<(), ReactError> {
        let Some((sweep_id, trial)) = trial_of(&report.sweep_id, report.trial_index) else { return Ok(()) };
        let (attempt, at) = (report.attempt.max(1), at(fact));
        let points = report.points.into_iter().map(|reported| {
            let point = Point { step: reported.step, value: reported.value };
            NamedPoint { name: reported.name, point }
        });
        let points = points.collect();
        self.execute(fact, sweep_id, Command::Observe(Observation { trial, attempt, points, at })).await
    }

    async fn seen(&self, fact: &Fact, seen: wire::MetricNameSeen) -> Result<(), ReactError> {
        let Some((sweep_id, trial)) = trial_of(&seen.sweep_id, seen.trial_index) else { return Ok(()) };
        self.execute(fact, sweep_id, Command::NoteMetric { trial, name: seen.name, at: at(fact) }).await
    }

    async fn ended(&self, fact: &Fact, run: wire::RunEnded) -> Result<(), ReactError> {
        let Some((sweep_id, trial)) = trial_of(&run.sweep_id, run.trial_index) else { return Ok(()) };
        if run.with_trial {
            return Ok(());
        }
        let position = views::stop_of(self.log.reader(), sweep_id, trial)
            .await
            .map_err(|error| ReactError::Transient(error.to_string()))?;
        let decision = position.map_or_else(String::new, |position| decision_id(sweep_id, position));
        let mut end = attempt_end(run.end.unwrap_or_default());
        if end.outcome.is_empty() {
            end.outcome = text_of::<TrialState>(run.state_kind, run.state).to_lowercase();
        }
        let ended = RunEnd {
            trial,
            attempt: run.attempt,
            end,
            decision,
            metric_names: run.metric_names,
            outputs: Some(run.outputs),
            at: at(fact),
        };
        self.execute(fact, sweep_id, Command::End(ended)).await
    }

    async fn execute(&self, fact: &Fact, sweep_id: SweepId, command: Command) -> Result<(), ReactError> {
        let context = calls::reaction_context(fact, self.name());
        match self.log.execute::<Sweep>(&stream_of(sweep_id), command, context).await {
            Ok(_) => Ok(()),
            // Of a sweep that is not here, e.g. after a restore from an older copy: not this service's to decide.
            Err(ExecuteError::Rejected(rejection @ (Rejection::Absent | Rejection::NoSuchTrial(_)))) => {
                tracing::warn!(%sweep_id, position = fact.position, kind = fact.r#type, "passed over: {rejection:?}");
                Ok(())
            }
            Err(error) => Err(calls::problem(error).into()),
        }
    }
}

fn decode<M: Message + Default>(fact: &Fact) -> Result<M, ReactError> {
    M::decode(fact.payload.as_slice()).map_err(|error| ReactError::Poison(format!("{}: {error}", fact.r#type)))
}

fn trial_of(sweep_id: &str, trial: Option<u32>) -> Option<(SweepId, u32)> {
    Some((SweepId::parse(sweep_id).ok()?, trial?))
}

fn at(fact: &Fact) -> Timestamp {
    Timestamp::from_microsecond(fact.recorded_at_us).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The word that is stored: that of the number, or the text beside it when there is none.
fn text_of<W: Word>(kind: i32, text: String) -> String {
    W::of_kind(kind).ok().flatten().map_or(text, |word| word.to_string())
}

fn attempt_end(end: JobEnd) -> AttemptEnd {
    AttemptEnd {
        outcome: text_of::<Outcome>(end.outcome_kind, end.outcome),
        phase: text_of::<EndPhase>(end.phase_kind, end.phase),
        reason: end.reason,
        exit_code: end.exit_code,
        signal: end.signal,
        stderr_tail: end.stderr_tail,
        by: text_of::<StopBy>(end.by_kind, end.by),
        // A number that is not finite has no JSON form and would be no age.
        checkpoint_age_seconds: end.checkpoint_age_seconds.filter(|age| age.is_finite()),
        unkept: end.unkept,
    }
}
