//! How much each parameter matters to the objective.

use contracts::sweeps as wire;
use contracts::{CallContext, status_of};
use tonic::{Request, Response, Status};
use tuning::{Draw, Goal, IMPORTANCE_TRIALS_MIN, Importance, SearchSpace, Share};
use vocabulary::Problem;

use super::Answer;
use crate::service::Core;
use crate::sweep::{Sweep, TrialState};

/// What a forest is grown from.
struct Question {
    space: SearchSpace,
    goal: Goal,
    seed: u64,
    trials: Vec<(Vec<Draw>, f64)>,
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
        if known < IMPORTANCE_TRIALS_MIN {
            let detail = format!(
                "sweep '{}' has {known} completed trials with a value; ask again when there are \
                 {IMPORTANCE_TRIALS_MIN} or more",
                request.sweep
            );
            return Err(status_of(&Problem::conflict("TooFewTrials", detail)));
        }
        // A forest takes its time, and must not keep others from this thread.
        let grown = runtime::background::run(move || (answer(&question), question.version));
        let (importance, version) = grown.await.map_err(super::broken)?;
        Ok(Response::new(reply(importance, version)))
    }
}

fn absent(request: &wire::ParameterImportanceRequest) -> Status {
    status_of(&Problem::not_found("sweep", &request.sweep, &request.workspace))
}

/// Only trials that completed count: the value of one that was stopped early is not its result. Without a metric the
/// first objective is meant.
fn question(sweep: &Sweep, metric: &str, version: i64) -> Option<Result<Question, Problem>> {
    let submitted = sweep.submitted.as_ref()?;
    let spec = &submitted.spec;
    let watched = spec.watched();
    let place = if metric.is_empty() { Some(0) } else { watched.iter().position(|name| *name == metric) };
    let Some((place, goal)) = place.and_then(|place| Some((place, spec.goal_of(watched[place])?))) else {
        let message = documents::not_one_of("watched metric", metric, &watched);
        return Some(Err(Problem::invalid("/metric", "UnknownMetric", message)));
    };
    let completed = (0_u32..).zip(&sweep.trials).filter(|(_, trial)| trial.state == TrialState::Completed);
    let trials = completed.filter_map(|(index, trial)| {
        let value = if place == 0 && !spec.has_several() {
            sweep.curves.standing(index)?.value
        } else {
            trial.values.get(place).copied().flatten()?
        };
        value.is_finite().then(|| (trial.draws.clone(), value))
    });
    Some(Ok(Question { space: spec.space.clone(), goal, seed: submitted.seed, trials: trials.collect(), version }))
}

fn answer(question: &Question) -> Importance {
    let trials: Vec<(&[Draw], f64)> = question.trials.iter().map(|(draws, value)| (draws.as_slice(), *value)).collect();
    tuning::importance(&question.space, &trials, question.goal, question.seed)
}

fn reply(importance: Importance, version: i64) -> wire::ParameterImportanceReply {
    let Importance { parameters, interactions, trials, clipped, trees } = importance;
    let shown = |Share { parameter, importance, low, high }| wire::ParameterShare { parameter, importance, low, high };
    let parameters = parameters.into_iter().map(shown).collect();
    wire::ParameterImportanceReply { parameters, interactions, trials, clipped, trees, version }
}
