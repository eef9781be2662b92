//! How much each parameter matters to the objective.

use contracts::sweeps as wire;
use contracts::{CallContext, status_of};
use tonic::{Request, Response, Status};
use tuning::{Draw, Goal, IMPORTANCE_TRIALS_MIN, Importance, SearchSpace, Share, Unjudged};
use vocabulary::Problem;

use super::Answer;
use crate::service::Core;
use crate::sweep::{Sweep, Trial, TrialState};

/// What a forest is grown from.
struct Question {
    space: SearchSpace,
    goal: Goal,
    seed: u64,
    trials: Vec<(Vec<Draw>, f64)>,
    /// Reports through which values are compared; 0 for results.
    interval: u32,
    stopped_early: u32,
    /// Nothing more comes.
    over: bool,
    version: i64,
}

impl Core {
    pub(super) async fn parameter_importance(
        &self,
        request: Request<wire::ParameterImportanceRequest>,
    ) -> Answer<wire::ParameterImportanceReply> {
        calls::at_least(&self.log, &CallContext::of(&request)).await?;
        let request = request.into_inner();
        let sweep_id = self.find(&request.workspace, &request.sweep).await?;
        let metric = request.metric.clone();
        let question = self.look(sweep_id, move |sweep, version| question(sweep, &metric, version)).await?;
        let question = question.ok_or_else(|| absent(&request))?.map_err(|problem| status_of(&problem))?;
        let known = question.trials.len();
        if known < IMPORTANCE_TRIALS_MIN && !question.over {
            let detail = format!(
                "sweep '{}' has {known} ended trials with a value; ask again when there are {IMPORTANCE_TRIALS_MIN} or \
                 more, or when it has ended",
                request.sweep
            );
            return Err(status_of(&Problem::conflict("TooFewTrials", detail)));
        }
        // A forest takes its time, and must not keep others from this thread.
        let grown = runtime::background::run(move || (answer(&question), question));
        let (importance, question) = grown.await.map_err(super::broken)?;
        Ok(Response::new(reply(importance, &question)))
    }
}

fn absent(request: &wire::ParameterImportanceRequest) -> Status {
    status_of(&Problem::not_found("sweep", &request.sweep, &request.workspace))
}

/// Trials that completed count by their results. Where some were stopped early, whose values are no results, all of
/// both kinds are compared at the same number of reports. Without a metric the first objective is meant.
fn question(sweep: &Sweep, metric: &str, version: i64) -> Option<Result<Question, Problem>> {
    let submitted = sweep.submitted.as_ref()?;
    let spec = &submitted.spec;
    let watched = spec.watched();
    let place = if metric.is_empty() { Some(0) } else { watched.iter().position(|name| *name == metric) };
    let Some((place, goal)) = place.and_then(|place| Some((place, spec.goal_of(watched[place])?))) else {
        let message = documents::not_one_of("watched metric", metric, &watched);
        return Some(Err(Problem::invalid("/metric", "UnknownMetric", message)));
    };
    let by_curve = place == 0 && !spec.has_several();
    let interval = if by_curve { common_interval(sweep) } else { 0 };
    let (mut trials, mut stopped_early) = (Vec::new(), 0);
    for (index, trial) in (0_u32..).zip(&sweep.trials) {
        let stopped = trial.state == TrialState::EarlyStopped;
        if !(trial.state == TrialState::Completed || (stopped && interval > 0)) {
            continue;
        }
        let value = match (by_curve, interval) {
            (true, 0) => sweep.curves.standing(index).map(|standing| standing.value),
            (true, interval) => sweep.curves.best_through(index, interval),
            (false, _) => trial.values.get(place).copied().flatten(),
        };
        if let Some(value) = value.filter(|value| value.is_finite()) {
            stopped_early += u32::from(stopped);
            trials.push((trial.draws.clone(), value));
        }
    }
    let (space, seed, over) = (spec.space.clone(), submitted.seed, sweep.status.state().is_terminal());
    Some(Ok(Question { space, goal, seed, trials, interval, stopped_early, over, version }))
}

/// The deepest interval that half of the trials with a value have, at least as many as a forest wants, where some of
/// them were stopped early; 0 where none was.
fn common_interval(sweep: &Sweep) -> u32 {
    let ended = |trial: &Trial| matches!(trial.state, TrialState::Completed | TrialState::EarlyStopped);
    let counted =
        (0_u32..).zip(&sweep.trials).filter(|(index, trial)| ended(trial) && sweep.curves.standing(*index).is_some());
    let mut intervals = Vec::new();
    let mut stopped = false;
    for (index, trial) in counted {
        stopped |= trial.state == TrialState::EarlyStopped;
        intervals.push(sweep.curves.interval(index));
    }
    intervals.sort_unstable_by(|a, b| b.cmp(a));
    let enough = intervals.len().div_ceil(2).max(IMPORTANCE_TRIALS_MIN).min(intervals.len());
    enough.checked_sub(1).filter(|_| stopped).map_or(0, |last| intervals[last])
}

fn answer(question: &Question) -> Importance {
    let trials: Vec<(&[Draw], f64)> = question.trials.iter().map(|(draws, value)| (draws.as_slice(), *value)).collect();
    tuning::importance(&question.space, &trials, question.goal, question.seed)
}

fn reply(importance: Importance, question: &Question) -> wire::ParameterImportanceReply {
    let Importance { parameters, unjudged, interactions, trials, clipped, trees } = importance;
    let shown = |Share { parameter, importance, low, high }| wire::ParameterShare { parameter, importance, low, high };
    let parameters = parameters.into_iter().map(shown).collect();
    let apart = |Unjudged { parameter, reason }| wire::UnjudgedParameter { parameter, reason };
    let unjudged = unjudged.into_iter().map(apart).collect();
    let Question { interval, stopped_early, version, .. } = *question;
    wire::ParameterImportanceReply {
        parameters,
        interactions,
        trials,
        clipped,
        trees,
        version,
        interval,
        stopped_early,
        unjudged,
    }
}
