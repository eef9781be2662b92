//! Sweeps and trials as answers show them.

use contracts::sweeps as wire;
use tuning::Decision;
use vocabulary::RunId;

use super::document_json::document;
use crate::document::SweepSpec;
use crate::stream::decision_id;
use crate::sweep::{Best, Closing, NO_RUN, Sweep, Trial, TrialEnd, parameters_json};
use crate::views::ListedSweep;

/// Trials of a front that one answer shows.
const PARETO_SHOWN_MAX: usize = 1_000;
/// Why there is no best trial although trials have completed.
const NO_FEASIBLE: &str = "NoFeasibleTrial: no completed trial meets all constraints";

/// All objectives, when there are several.
fn objectives(spec: &SweepSpec) -> Vec<wire::Objective> {
    let shown = spec.objectives().filter(|_| spec.has_several()).map(|objective| wire::Objective {
        primary_metric: objective.primary_metric.clone(),
        goal: objective.goal.to_string(),
    });
    shown.collect()
}

fn constraints(spec: &SweepSpec) -> Vec<wire::MetricConstraint> {
    let shown = spec.constraints.iter().map(|constraint| wire::MetricConstraint {
        metric: constraint.metric.clone(),
        op: constraint.operator.to_string(),
        value: constraint.value,
    });
    shown.collect()
}

fn pareto(state: &Sweep, index: u32) -> Option<wire::ParetoTrial> {
    let trial = state.trials.get(index as usize)?;
    Some(wire::ParetoTrial {
        trial_index: index,
        run_id: run_text(trial.run_id),
        values: trial.named_values(&state.submitted.as_ref()?.spec),
        parameters_json: parameters_json(&trial.draws),
    })
}

/// A sweep without its document; `None` before it was submitted.
pub(super) fn sweep(state: &Sweep, version: i64) -> Option<wire::Sweep> {
    let submitted = state.submitted.as_ref()?;
    let time = |at: Option<jiff::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    Some(wire::Sweep {
        sweep_id: submitted.sweep_id.to_string(),
        workspace: submitted.workspace.clone(),
        name: submitted.name.clone(),
        experiment: submitted.spec.experiment.clone(),
        description: submitted.description.clone(),
        tags: submitted.tags.clone(),
        state: state.status.state().to_string(),
        reason: state.status.reason(),
        conditions: state.stalled.values().map(|reason| format!("Stalled: {reason}")).collect(),
        goal: submitted.spec.objective.goal.to_string(),
        primary_metric: submitted.spec.objective.primary_metric.clone(),
        best: state.best().map(best),
        trial_counts: state.shown_counts().into_iter().map(|(state, count)| (state.to_string(), count)).collect(),
        proposals: state.proposals(),
        max_total_trials: submitted.limits.max_total_trials,
        max_concurrent_trials: submitted.limits.max_concurrent_trials,
        seed: submitted.seed.to_string(),
        cluster: submitted.spec.cluster.clone(),
        created_at: submitted.at.to_string(),
        started_at: time(state.started_at),
        ended_at: time(state.ended_at),
        archived_at: time(state.archived_at),
        deleted_at: time(state.deleted_at),
        version,
        warnings: submitted.warnings.iter().cloned().map(Into::into).collect(),
        spec_json: String::new(),
        preemptions: state.preemptions,
        parent_sweep_id: submitted.parent.as_ref().map(|parent| parent.sweep_id.to_string()).unwrap_or_default(),
        parent_position: submitted.parent.as_ref().map_or(0, |parent| parent.position),
        objectives: objectives(&submitted.spec),
        constraints: constraints(&submitted.spec),
        pareto: Vec::new(),
        pareto_count: 0,
        trials_without_value: state.without_value,
        inherited_trials: state.inherited(),
        trial_limit: state.trial_limit(),
    })
}

/// A sweep with its document.
pub(super) fn sweep_with_document(state: &Sweep, version: i64) -> Option<wire::Sweep> {
    let mut shown = sweep(state, version)?;
    shown.spec_json = state.submitted.as_ref().map(document).unwrap_or_default();
    let front = state.front();
    shown.pareto_count = u32::try_from(front.len()).unwrap_or(u32::MAX);
    shown.pareto = front.into_iter().take(PARETO_SHOWN_MAX).filter_map(|index| pareto(state, index)).collect();
    if state.lacks_feasible() {
        shown.conditions.push(NO_FEASIBLE.to_owned());
    }
    Some(shown)
}

/// The run's id; empty for a trial that was imported, which has none.
pub(super) fn run_text(run_id: RunId) -> String {
    if run_id == NO_RUN { String::new() } else { run_id.to_string() }
}

fn best(best: Best) -> wire::Best {
    wire::Best {
        trial_index: best.trial,
        run_id: run_text(best.run_id),
        value: best.value,
        parameters_json: best.parameters,
        missing_outputs: best.missing_outputs,
        unkept: best.unkept,
    }
}

/// An ended sweep from its row in the list.
pub(super) fn listed(row: ListedSweep, workspace: &str) -> wire::Sweep {
    let ListedSweep { sweep_id, state, summary, .. } = row;
    let trial_limit = summary.trial_limit();
    let Closing { best: winner, trial_counts, proposals, preemptions, without_value, inherited } = summary.closing;
    wire::Sweep {
        sweep_id: sweep_id.to_string(),
        workspace: workspace.to_owned(),
        name: summary.name,
        experiment: summary.experiment,
        description: summary.description,
        tags: summary.tags,
        state,
        reason: summary.reason,
        conditions: Vec::new(),
        goal: summary.goal,
        primary_metric: summary.primary_metric,
        best: winner.map(best),
        trial_counts,
        proposals,
        max_total_trials: summary.max_total_trials,
        max_concurrent_trials: summary.max_concurrent_trials,
        seed: summary.seed,
        cluster: summary.cluster,
        created_at: summary.created_at,
        started_at: summary.started_at,
        ended_at: summary.ended_at,
        version: summary.version,
        warnings: summary.warnings.into_iter().map(Into::into).collect(),
        spec_json: String::new(),
        preemptions,
        trials_without_value: without_value,
        inherited_trials: inherited,
        trial_limit,
        ..wire::Sweep::default()
    }
}

/// On what grounds a policy stopped a trial.
pub(super) fn policy_stop(state: &Sweep, decision: &Decision) -> Option<wire::PolicyStop> {
    let objective = &state.submitted.as_ref()?.spec.objective;
    Some(wire::PolicyStop {
        policy: decision.policy.clone(),
        metric: objective.primary_metric.clone(),
        goal: objective.goal.to_string(),
        value: decision.value,
        threshold: decision.threshold.filter(|threshold| threshold.is_finite()),
        interval: decision.interval,
    })
}

/// A trial; `stop` is the position of the decision that stopped it.
pub(super) fn trial(state: &Sweep, index: u32, trial: &Trial, stop: Option<i64>) -> wire::Trial {
    let sweep_id = state.submitted.as_ref().map(|submitted| submitted.sweep_id);
    let decision = match &trial.end {
        Some(TrialEnd::EarlyStopped { decision }) if !decision.is_empty() => decision.clone(),
        _ => sweep_id.zip(stop).map(|(sweep, position)| decision_id(sweep, position)).unwrap_or_default(),
    };
    wire::Trial {
        index,
        run_id: run_text(trial.run_id),
        state: state.shown_state(index, trial).to_string(),
        parameters_json: parameters_json(&trial.draws),
        // With several objectives no single value is the result.
        best_value: state.curves.standing(index).map(|standing| standing.value).filter(|_| !has_several(state)),
        // Absent in JSON is what a value that is no number is.
        last_value: trial.last_value.filter(|value| value.is_finite()),
        intervals: state.curves.interval(index),
        attempt: trial.attempt(),
        preemptions: trial.preemptions,
        decision,
        reason: trial.end.as_ref().map(TrialEnd::reason).unwrap_or_default(),
        created_at: trial.proposed_at.to_string(),
        ended_at: trial.ended_at.map(|at| at.to_string()).unwrap_or_default(),
        values: state.submitted.as_ref().map(|submitted| trial.named_values(&submitted.spec)).unwrap_or_default(),
        feasible: state.feasibility(trial),
        non_finite_reports: trial.non_finite,
        failed_phase: trial.failure().map(|failure| failure.phase).unwrap_or_default(),
        exit_code: trial.last_end().and_then(|end| end.exit_code),
        error: trial.failure().map(|failure| failure.error).unwrap_or_default(),
        missing_outputs: trial.missing_outputs.clone(),
        stop: None,
        unkept: trial.unkept().to_owned(),
    }
}

fn has_several(state: &Sweep) -> bool {
    state.submitted.as_ref().is_some_and(|submitted| submitted.spec.has_several())
}
