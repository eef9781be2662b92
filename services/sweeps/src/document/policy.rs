//! Early termination: types and fields here, the rules on their values in `tuning`.

use documents::{Field, Fields, Findings, Node, Tree, reference};
use tuning::{PolicySpec, SamplerSpec, Variant};

use super::compat;
use super::note::note;
use super::spec::{Limits, TrialSpec};

const KINDS: [&str; 8] =
    ["bandit", "median_stopping", "truncation_selection", "none", "asha", "hyperband", "learning_curve", "pbt"];
/// What Azure does not have.
const NATIVE: [&str; 4] = ["asha", "hyperband", "learning_curve", "pbt"];
/// Settings of the policies that are asked at multiples of an interval. Those with rungs refuse them by name, since
/// they look as if they could be meant.
const CLOCK: [&str; 2] = ["evaluation_interval", "delay_evaluation"];

/// Whether the section names a policy other than none.
pub(super) fn is_there(field: &Field<'_>) -> bool {
    let kind = match field.node().map(|node| (&node.value, node.get("type"))) {
        Some((Tree::Text(kind), _)) => Some(kind),
        Some((_, Some(Node { value: Tree::Text(kind), .. }))) => Some(kind),
        _ => None,
    };
    field.is_present() && kind.is_none_or(|kind| kind != "none")
}

/// Reads the section; absent, every trial runs to its end. In `compat` only what Azure has.
pub(super) fn read(field: &Field<'_>, compat: bool, findings: &Findings) -> Option<PolicySpec> {
    let policy = match field.node().map(|node| &node.value) {
        None => return Some(PolicySpec::None),
        Some(Tree::Text(_)) => match kind(field, compat)? {
            "none" => PolicySpec::None,
            "median_stopping" => PolicySpec::MedianStopping { evaluation_interval: 1, delay_evaluation: 0 },
            _ => return field.wrong_type("a map with a type and its settings"),
        },
        Some(_) => read_map(field.map()?, compat)?,
    };
    let issues = policy.check(compat);
    let good = issues.iter().all(|issue| issue.warning);
    issues.into_iter().for_each(|issue| note(issue, &field.pointer(), findings));
    good.then_some(policy)
}

fn kind(field: &Field<'_>, in_compat: bool) -> Option<&'static str> {
    let kind = field.one_of("UnknownPolicy", &KINDS)?;
    if in_compat && NATIVE.contains(&kind) {
        compat::refuse_native(field, kind);
        return None;
    }
    Some(kind)
}

fn read_map(mut fields: Fields<'_>, compat: bool) -> Option<PolicySpec> {
    let Some(kind) = kind(&fields.required("type"), compat) else {
        fields.kind_is_unknown();
        return None;
    };
    fields.described_by_kind(&reference::POLICIES, kind);
    match kind {
        "none" => return Some(PolicySpec::None),
        "asha" | "hyperband" | "learning_curve" => return read_rungs(fields, kind),
        "pbt" => return read_population(fields),
        _ => {}
    }
    let every = fields.field("evaluation_interval");
    let every = or_default(&every, 1, || every.integer_as("BadInterval", "must be an integer >= 1", false));
    let delay = fields.field("delay_evaluation");
    let delay = or_default(&delay, 0, || delay.integer_as("BadInterval", "must be an integer >= 0", false));
    match kind {
        "bandit" => {
            let (factor, amount) = (fields.field("slack_factor"), fields.field("slack_amount"));
            let slack_factor = or_default(&factor, None, || factor.number().map(Some));
            let slack_amount = or_default(&amount, None, || amount.number().map(Some));
            Some(PolicySpec::Bandit {
                slack_factor: slack_factor?,
                slack_amount: slack_amount?,
                evaluation_interval: every?,
                delay_evaluation: delay?,
            })
        }
        "median_stopping" => Some(PolicySpec::MedianStopping { evaluation_interval: every?, delay_evaluation: delay? }),
        _ => {
            let percentage = fields.required("truncation_percentage");
            let percentage = percentage.integer_as("BadPercentage", "must be an integer in 1..=99", false);
            let exclude_finished_jobs = fields.boolean("exclude_finished_jobs").unwrap_or_default();
            Some(PolicySpec::TruncationSelection {
                truncation_percentage: percentage?,
                exclude_finished_jobs,
                evaluation_interval: every?,
                delay_evaluation: delay?,
            })
        }
    }
}

/// Promotion stops a trial at each rung and lets it go on later, which needs a checkpoint.
pub(super) fn check_checkpoint(policy: Option<&PolicySpec>, trial: Option<&TrialSpec>, findings: &Findings) {
    if policy.is_some_and(PolicySpec::promotes) && trial.is_some_and(|trial| !trial.checkpoint.is_saved()) {
        let message = "variant promotion stops a trial at each rung and goes on from its checkpoint: set \
                       trial.checkpoint to true and save one, or use variant stopping";
        findings.refuse("/early_termination/variant", "NeedsCheckpoint", message);
    }
    check_population(policy, trial, findings);
}

/// A child goes on from a donor's checkpoint.
fn check_population(policy: Option<&PolicySpec>, trial: Option<&TrialSpec>, findings: &Findings) {
    if policy.is_some_and(PolicySpec::is_population_based) && trial.is_some_and(|trial| !trial.checkpoint.is_saved()) {
        let message = "pbt starts trials from the checkpoints of others: set trial.checkpoint to true and save one, or \
                       use another policy";
        findings.refuse("/early_termination/type", "NeedsCheckpoint", message);
    }
}

/// What a population asks of the sampler and of the limits.
pub(super) fn check_initial_design(
    policy: Option<&PolicySpec>,
    sampler: Option<&SamplerSpec>,
    limits: Option<&Limits>,
    findings: &Findings,
) {
    let Some(&PolicySpec::Pbt { quantile, .. }) = policy else { return };
    if matches!(sampler, Some(SamplerSpec::Bayesian { .. })) {
        let message = "pbt takes its first trials from random or grid: a model would take what a trial has from the \
                       checkpoint of another for its own; use random";
        findings.refuse("/sampling_algorithm", "NotWithBayesian", message);
    }
    let least = tuning::population_min(quantile);
    if let Some(limits) = limits.filter(|limits| limits.max_concurrent_trials < least) {
        let message = format!(
            "max_concurrent_trials {} is the size of the population, and quantile {quantile} needs at least {least}: \
             nobody will be stopped; raise one of them",
            limits.max_concurrent_trials
        );
        findings.warn("/limits/max_concurrent_trials", "PopulationTooSmall", message);
    }
}

/// Population-based training.
fn read_population(mut fields: Fields<'_>) -> Option<PolicySpec> {
    refuse_clock(&mut fields, "pbt, which decides at its perturbation points; use perturbation_interval");
    let every = fields.required("perturbation_interval");
    let every = every.integer_as("BadInterval", "must be an integer >= 1", false);
    let (quantile, resample) = (fields.field("quantile"), fields.field("resample_probability"));
    let quantile = or_default(&quantile, PolicySpec::QUANTILE_DEFAULT, || quantile.number());
    let resample = or_default(&resample, PolicySpec::RESAMPLE_PROBABILITY_DEFAULT, || resample.number());
    Some(PolicySpec::Pbt { perturbation_interval: every?, quantile: quantile?, resample_probability: resample? })
}

/// The policies whose intervals are rungs.
fn read_rungs(mut fields: Fields<'_>, kind: &str) -> Option<PolicySpec> {
    refuse_clock(&mut fields, &format!("{kind}, which decides at its rungs; use min_resource"));
    let integer = |field: &Field<'_>, least: u32| {
        field.integer_as("OutOfRange", &format!("must be an integer >= {least}"), false)
    };
    let min = fields.field("min_resource");
    let min = or_default(&min, 1, || integer(&min, 1));
    let max = integer(&fields.required("max_resource"), 2);
    let finish = fields.field("finish_seconds");
    let finish = or_default(&finish, PolicySpec::FINISH_SECONDS_DEFAULT, || finish.number());
    if kind == "learning_curve" {
        let (share, hope) = (fields.field("share"), fields.field("hope"));
        let share = or_default(&share, PolicySpec::SHARE_DEFAULT, || share.number());
        let hope = or_default(&hope, PolicySpec::HOPE_DEFAULT, || hope.number());
        return Some(PolicySpec::LearningCurve {
            min_resource: min?,
            max_resource: max?,
            share: share?,
            hope: hope?,
            finish_seconds: finish?,
        });
    }
    let factor = fields.field("reduction_factor");
    let default = if kind == "asha" { 4 } else { 3 };
    let factor = or_default(&factor, default, || integer(&factor, 2));
    if kind == "hyperband" {
        return Some(PolicySpec::Hyperband {
            reduction_factor: factor?,
            min_resource: min?,
            max_resource: max?,
            finish_seconds: finish?,
        });
    }
    let variant = match fields.field("variant").one_of("UnknownVariant", &["stopping", "promotion"]) {
        Some("promotion") => Variant::Promotion,
        _ => Variant::Stopping,
    };
    Some(PolicySpec::Asha {
        reduction_factor: factor?,
        min_resource: min?,
        max_resource: max?,
        variant,
        finish_seconds: finish?,
    })
}

/// Refuses the settings of another kind of policy.
fn refuse_clock(fields: &mut Fields<'_>, kind: &str) {
    for name in CLOCK {
        let field = fields.unlisted(name);
        if field.is_present() {
            field.refuse("UnknownField", format!("{name} does not apply to {kind}"));
        }
    }
}

/// `None` only for a value that is there and wrong.
fn or_default<T>(field: &Field<'_>, default: T, read: impl FnOnce() -> Option<T>) -> Option<T> {
    if field.is_present() { read() } else { Some(default) }
}
