//! What sweeps decides about trials, in one story: a proposed trial gets its run, in the experiment that its sweep
//! names; a trial that is to stop has its run stopped, or relabelled when that has just ended; what is told of an
//! external trial becomes points of its run; and a run that no job drives ends with its trial.
//!
//! One story, since these follow each other for each trial; trials do not wait for each other.

use std::sync::Arc;

use contracts::feed::Fact;
use contracts::job::Word;
use contracts::runs::{MetricPoint, RecordMetricsRequest};
use contracts::sweeps::{
    SweepDeleted, TrialEnded, TrialPromoted, TrialProposed, TrialReleased, TrialReported, TrialStopRequested,
};
use eventlog::{BoxFuture, Context, ExecuteError};
use feed::{Place, ReactError, Reaction};
use vocabulary::RunId;
use vocabulary::job::{JobSpec, StopBy};

use super::fact::{Outcome, decode, execute, not_yet, run_of};
use crate::core::Core;
use crate::deletion;
use crate::experiments::find_or_make;
use crate::metrics::{Batch, store};
use crate::run::{self, Command, Objective, Rejection, Run, RunCreated, RunState, Subject, Writer, name_of};

/// Microseconds of a millisecond.
const US_A_MS: i64 = 1_000;

pub(super) struct FollowTrials(pub Arc<Core>);

impl Reaction for FollowTrials {
    fn name(&self) -> &'static str {
        "follow_trials"
    }

    fn service(&self) -> &'static str {
        "sweeps"
    }

    /// A lane a run. A run with a job is to start, and one that is stopped to end: that is urgent. What is told of
    /// external trials, and how they end, changes nothing but what is shown.
    fn place(&self, fact: &Fact) -> Place {
        // A fact that cannot be decoded is poison where it is handled.
        let place = match fact.r#type.as_str() {
            "TrialProposed" => decode::<TrialProposed>(fact).map(|proposed| (proposed.run_id, proposed.job.is_some())),
            "TrialStopRequested" => decode::<TrialStopRequested>(fact).map(|stop| (stop.run_id, true)),
            "TrialPromoted" => decode::<TrialPromoted>(fact).map(|promoted| (promoted.run_id, true)),
            "TrialReleased" => decode::<TrialReleased>(fact).map(|released| (released.run_id, true)),
            "TrialReported" => decode::<TrialReported>(fact).map(|reported| (reported.run_id, false)),
            "TrialEnded" => decode::<TrialEnded>(fact).map(|ended| (ended.run_id, false)),
            _ => Ok((fact.stream.clone(), false)),
        };
        let (lane, is_urgent) = place.unwrap_or_else(|_| (fact.stream.clone(), false));
        Place { lane, is_urgent }
    }

    fn handle<'a>(&'a self, fact: &'a Fact) -> BoxFuture<'a, Result<(), ReactError>> {
        Box::pin(async move {
            match fact.r#type.as_str() {
                "TrialProposed" => self.proposed(fact, decode(fact)?).await,
                "TrialStopRequested" => self.stopped(fact, decode(fact)?).await,
                "TrialPromoted" => self.released(fact, &decode::<TrialPromoted>(fact)?.run_id).await,
                "TrialReleased" => self.released(fact, &decode::<TrialReleased>(fact)?.run_id).await,
                "TrialReported" => self.reported(fact, decode(fact)?).await,
                "TrialEnded" => self.ended(fact, decode(fact)?).await,
                "SweepDeleted" => self.deleted(fact, decode(fact)?).await,
                _ => Ok(()),
            }
        })
    }
}

impl FollowTrials {
    async fn proposed(&self, fact: &Fact, proposed: TrialProposed) -> Result<(), ReactError> {
        let run = run_of(&proposed.run_id)?;
        let context = calls::reaction_context(fact, "create_runs.experiment");
        let job = proposed.job.map(JobSpec::try_from).transpose();
        let job = job.map_err(|error| ReactError::Poison(format!("job: {error}")))?;
        let goal = Some(proposed.goal.as_str()).filter(|goal| !goal.is_empty()).map(str::parse).transpose();
        let goal = goal.map_err(|_| ReactError::Poison(format!("goal: {:?}", proposed.goal)))?;
        let metric = Some(proposed.primary_metric).filter(|metric| !metric.is_empty());
        let experiment = find_or_make(&self.0, &proposed.workspace, &proposed.experiment, context).await?;
        let created = RunCreated {
            subject: Subject {
                workspace: proposed.workspace,
                sweep_id: proposed.sweep_id,
                trial_index: Some(proposed.trial_index),
            },
            run_id: run,
            experiment_id: experiment.experiment_id.to_string(),
            experiment: experiment.name,
            name: if proposed.run_name.is_empty() { name_of(run) } else { proposed.run_name },
            parent_run_id: String::new(),
            params: proposed.params,
            tags: proposed.tags,
            job,
            objective: metric.map(|metric| Objective { metric, goal }),
            at_us: fact.recorded_at_us,
        };
        execute(&self.0, fact, "create_runs", run, Command::Create(Box::new(created))).await?;
        Ok(())
    }

    async fn stopped(&self, fact: &Fact, stop: TrialStopRequested) -> Result<(), ReactError> {
        let run = run_of(&stop.run_id)?;
        let by = StopBy::required(stop.by_kind, &stop.by);
        let by = by.map_err(|error| ReactError::Poison(format!("by: {error}")))?;
        let command = Command::Stop { decision: stop.decision, by, at_us: fact.recorded_at_us };
        self.must_be_there(fact, "stop_runs", run, command).await
    }

    async fn released(&self, fact: &Fact, run_id: &str) -> Result<(), ReactError> {
        let run = run_of(run_id)?;
        self.must_be_there(fact, "release_runs", run, Command::Release { at_us: fact.recorded_at_us }).await
    }

    /// Values that were told. A run that its user has ended takes none, like any other.
    async fn reported(&self, fact: &Fact, reported: TrialReported) -> Result<(), ReactError> {
        let run = run_of(&reported.run_id)?;
        let timestamp_ms = fact.recorded_at_us / US_A_MS;
        let points = reported.points.iter().map(|point| MetricPoint {
            name: reported.metric.clone(),
            value: point.value,
            step: Some(point.step),
            timestamp_ms: Some(timestamp_ms),
            ..MetricPoint::default()
        });
        let others = reported.others.iter().map(|other| MetricPoint {
            name: other.metric.clone(),
            value: other.value,
            step: Some(other.step),
            timestamp_ms: Some(timestamp_ms),
            ..MetricPoint::default()
        });
        let request = RecordMetricsRequest {
            workspace: reported.workspace,
            run_id: reported.run_id,
            metrics: points.chain(others).collect(),
            ..RecordMetricsRequest::default()
        };
        let batch = Arc::new(Batch::read(request, run, timestamp_ms, Writer::Client)?);
        let context: Context = calls::reaction_context(fact, "told_points");
        let stream = run::stream(run);
        let recorded = self.0.log.record::<Run, _>(&stream, None, context, move |state, tx| {
            let batch = Arc::clone(&batch);
            Box::pin(async move { store::store(&batch, state, tx).await })
        });
        match recorded.await {
            Ok(_) => {
                self.0.changed(run);
                Ok(())
            }
            Err(ExecuteError::Rejected(Rejection::NotFound { .. })) => Err(not_yet(run)),
            Err(ExecuteError::Rejected(Rejection::Terminal { .. })) => Ok(()),
            Err(error) => Err(calls::problem(error).into()),
        }
    }

    async fn ended(&self, fact: &Fact, ended: TrialEnded) -> Result<(), ReactError> {
        // A trial that ended before it had a run has none to end.
        if ended.run_id.is_empty() {
            return Ok(());
        }
        let run = run_of(&ended.run_id)?;
        let state = RunState::required(ended.state_kind, &ended.state);
        let state = state.map_err(|error| ReactError::Poison(format!("state: {error}")))?;
        if !state.is_terminal() {
            return Err(ReactError::Poison(format!("{state} is no terminal state")));
        }
        let (decision, reason) = (ended.decision, ended.reason);
        let command = Command::EndTrial { state, decision, reason, at_us: fact.recorded_at_us };
        self.must_be_there(fact, "end_trials", run, command).await?;
        deletion::delete_late(&self.0, fact, (&ended.workspace, &ended.sweep_id), run).await
    }

    /// The runs of a sweep that is gone go too, where that is wanted.
    async fn deleted(&self, fact: &Fact, deleted: SweepDeleted) -> Result<(), ReactError> {
        if !deleted.runs {
            return Ok(());
        }
        deletion::delete_of_sweep(&self.0, fact, &deleted.workspace, &deleted.sweep_id).await
    }

    async fn must_be_there(&self, fact: &Fact, story: &str, run: RunId, command: Command) -> Result<(), ReactError> {
        match execute(&self.0, fact, story, run, command).await? {
            Outcome::Done => Ok(()),
            Outcome::Absent => Err(not_yet(run)),
        }
    }
}
