//! What a sweep's model is made from, and what it suggests.

use std::sync::Arc;

use tuning::bayes::{Explained, FitTask, Output, Sought, Suggestion, Tuner, TunerSetup};
use tuning::{SamplerSpec, TunerVersion};

use crate::document::{ConstraintOperator, Noise, SweepSpec};
use crate::sweep::Inheritance;

/// The setup of a sweep's model; `None` when no model proposes, or one by rules that this build does not know. It is
/// the same whatever has become of the limits since.
pub(crate) fn setup(spec: &Arc<SweepSpec>, seed: u64, version: u32) -> Option<TunerSetup> {
    let SamplerSpec::Bayesian { method } = spec.sampler else { return None };
    let version = TunerVersion::recorded(version)?;
    Some(TunerSetup {
        space: spec.space.clone(),
        method,
        goal: spec.objective.goal,
        outputs: outputs(spec),
        seed,
        noisy: spec.objective.noise == Noise::Declared,
        max_total_trials: u64::from(spec.limits.max_total_trials),
        max_concurrent_trials: u64::from(spec.limits.max_concurrent_trials),
        version,
    })
}

/// What is to be modelled beside the first objective.
fn outputs(spec: &SweepSpec) -> Vec<Output> {
    let objectives = spec
        .further_objectives
        .iter()
        .map(|objective| Output { name: objective.primary_metric.clone(), sought: Sought::Objective(objective.goal) });
    let constraints = spec.constraints.iter().map(|constraint| Output {
        name: constraint.metric.clone(),
        sought: match constraint.operator {
            ConstraintOperator::AtMost => Sought::AtMost(constraint.value),
            ConstraintOperator::AtLeast => Sought::AtLeast(constraint.value),
        },
    });
    objectives.chain(constraints).collect()
}

/// What is asked of a model: [`suggest`].
pub(crate) type Suggest = fn(&mut Tuner, &Inheritance, u32, u32) -> Option<Suggestion>;

/// The next suggestion. The first trials may go on with earlier ones: those are not the model's.
pub(crate) fn suggest(tuner: &mut Tuner, inheritance: &Inheritance, number: u32, known: u32) -> Option<Suggestion> {
    let Some((proposal, run_id)) = inheritance.resumed(u64::from(number)) else { return tuner.suggest(number, known) };
    let explained = Explained {
        by: "resumed".to_owned(),
        why: format!("resume_trials: it goes on with the parameters of run {run_id}"),
        ..Explained::default()
    };
    Some(Suggestion { proposal, explained })
}

/// How many endings the model made a proposal from, which looked at `known`; `None` when it only goes on with an
/// earlier trial.
pub(crate) fn based(number: u32, known: Option<u32>, inheritance: &Inheritance) -> Option<u32> {
    known.filter(|_| inheritance.resumed(u64::from(number)).is_none())
}

/// What a model suggests before anything has ended: at most so much, and nothing more once it is not to go on.
pub(crate) fn first_suggestions(
    setup: TunerSetup,
    inheritance: &Inheritance,
    suggest: Suggest,
    most: u32,
    goes_on: impl Fn() -> bool,
) -> Vec<Suggestion> {
    let mut tuner = Tuner::new(setup);
    tuner.inherit(&inheritance.for_model());
    // What earlier sweeps have found is learned before the first trial.
    if let Some(task) = tuner.fit_due().filter(FitTask::is_quick) {
        tuner.use_fit(task.run());
    }
    let mut made = Vec::new();
    for number in (0..most).take_while(|_| goes_on()) {
        let Some(suggestion) = suggest(&mut tuner, inheritance, number, 0) else { break };
        tuner.proposed(number, &suggestion.proposal.draws, based(number, Some(0), inheritance));
        let explained = finite(suggestion.explained);
        made.push(Suggestion { explained, ..suggestion });
    }
    made
}

/// Numbers that have no JSON form say nothing: they are left out.
pub(super) fn finite(explained: Explained) -> Explained {
    let numbers = [explained.mean, explained.log_expected_improvement, explained.incumbent];
    let interval = explained.interval.into_iter().flat_map(|(low, high)| [low, high]);
    let near = explained.nearest.iter().flat_map(|near| [near.correlation, near.value]);
    let near = near.chain(explained.feasible).chain(explained.weights.iter().copied());
    let outputs = explained.outputs.iter().flat_map(|output| [output.mean, output.interval.0, output.interval.1]);
    let near = near.chain(outputs);
    let good = numbers.into_iter().flatten().chain(interval).chain(near).all(f64::is_finite);
    if good { explained } else { Explained { by: explained.by, why: explained.why, ..Explained::default() } }
}
