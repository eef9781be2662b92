//! Limits, and what they mean on a given cluster.

use documents::{Field, Fields, Findings, Tree, reference};
use tuning::number_text;

use super::compat;
use super::spec::{ClusterFacts, Convergence, FailedTrials, Limits, Resources, ServerLimits};

/// 60 days: longer than any sweep should need, shorter than for ever.
const TIMEOUT_DEFAULT_SECONDS: f64 = 5_184_000.0;
/// So many failures in a row, without a success, look like a mistake in the script.
const FAILED_TRIALS_DEFAULT: u32 = 3;
/// Longest memory of a sweep for how its leader got better: one value an ended trial.
const PATIENCE_MAX: u32 = 10_000;
/// An improvement by less than one part in a thousand is rarely worth as many trials as the patience has.
const RELATIVE_IMPROVEMENT_DEFAULT: f64 = 0.001;
/// More retries than this hide a broken script.
const RETRIES_MAX: u32 = 10;

/// Reads the section. What is absent is taken from `current`, or from the defaults. In `compat` Azure's names of the
/// timeouts will do too.
pub(super) fn read(field: &Field<'_>, server: &ServerLimits, compat: bool, current: Option<&Limits>) -> Option<Limits> {
    let limits = match field.is_present() {
        false => current.cloned().unwrap_or_else(|| defaults(server)),
        true => read_fields(field.map()?, server, compat, current)?,
    };
    check_together(field, &limits).then_some(limits)
}

pub(super) fn defaults(server: &ServerLimits) -> Limits {
    let total = server.max_total_trials.min(ServerLimits::default().max_total_trials);
    Limits {
        max_total_trials: total,
        max_new_trials: None,
        max_concurrent_trials: concurrent_default(total, server),
        timeout_seconds: TIMEOUT_DEFAULT_SECONDS,
        trial_timeout_seconds: None,
        max_failed_trials: FailedTrials::InARow(FAILED_TRIALS_DEFAULT),
        max_retries: 0,
        max_trials_without_improvement: None,
        convergence: None,
    }
}

fn concurrent_default(total: u32, server: &ServerLimits) -> u32 {
    total.min(server.max_concurrent_trials)
}

fn read_fields(
    mut fields: Fields<'_>,
    server: &ServerLimits,
    in_compat: bool,
    current: Option<&Limits>,
) -> Option<Limits> {
    fields.described_by(&reference::LIMITS);
    let base = current.cloned().unwrap_or_else(|| defaults(server));
    let total = count(&mut fields, "max_total_trials", base.max_total_trials, 1, server.max_total_trials);
    // A total that is wrong is reported itself and must not make the concurrency look wrong.
    let concurrent_base = match current {
        Some(current) => total.map_or(1, |total| current.max_concurrent_trials.min(total)),
        None => concurrent_default(total.unwrap_or(1), server),
    };
    let most = server.max_concurrent_trials;
    let concurrent = count(&mut fields, "max_concurrent_trials", concurrent_base, 1, most);
    let timeout = compat::limit(&mut fields, "timeout_seconds", "timeout", in_compat);
    let timeout = seconds(&timeout, in_compat, Some(base.timeout_seconds));
    let trial_timeout = compat::limit(&mut fields, "trial_timeout_seconds", "trial_timeout", in_compat);
    let trial_timeout = seconds(&trial_timeout, in_compat, base.trial_timeout_seconds);
    let failed = failed_trials(&fields.field("max_failed_trials"), base.max_failed_trials);
    let retries = count(&mut fields, "max_retries", base.max_retries, 0, RETRIES_MAX);
    let new_trials = optional(&fields.field("max_new_trials"), base.max_new_trials);
    let patience = optional(&fields.field("max_trials_without_improvement"), base.max_trials_without_improvement);
    let convergence = fields.field("convergence");
    let convergence = match convergence.is_present() {
        true => convergence.map().and_then(read_convergence).map(Some),
        false => Some(base.convergence),
    };
    Some(Limits {
        max_total_trials: total?,
        max_new_trials: new_trials?,
        max_concurrent_trials: concurrent?,
        timeout_seconds: timeout??,
        trial_timeout_seconds: trial_timeout?,
        max_failed_trials: failed?,
        max_retries: retries?,
        max_trials_without_improvement: patience?,
        convergence: convergence?,
    })
}

fn read_convergence(mut fields: Fields<'_>) -> Option<Convergence> {
    fields.described_by(&reference::CONVERGENCE);
    let patience = fields.required("patience").integer_in(1..=PATIENCE_MAX);
    let improvement = fields.field("relative_improvement");
    let improvement = if improvement.is_present() {
        let given = improvement.number();
        if let Some(wrong) = given.filter(|given| *given < 0.0) {
            improvement.refuse("OutOfRange", format_args!("{} must be >= 0", number_text(wrong)));
        }
        given.filter(|given| *given >= 0.0)
    } else {
        Some(RELATIVE_IMPROVEMENT_DEFAULT)
    };
    Some(Convergence { patience: patience?, relative_improvement: improvement? })
}

/// A number of trials, or a share of them: a number between 0 and 1.
fn failed_trials(field: &Field<'_>, default: FailedTrials) -> Option<FailedTrials> {
    if !field.is_present() {
        return Some(default);
    }
    let number = field.number()?;
    if number > 0.0 && number < 1.0 {
        return Some(FailedTrials::Share(number));
    }
    if number >= 1.0 && number.fract() == 0.0 {
        return field.integer_in(1..=u32::MAX).map(FailedTrials::InARow);
    }
    let number = number_text(number);
    let how = "must be an integer >= 1, or a share of the ended trials: > 0 and < 1";
    field.refuse("OutOfRange", format_args!("{number} {how}"));
    None
}

/// `None` for a wrong value, `Some(None)` for no limit.
fn optional(field: &Field<'_>, default: Option<u32>) -> Option<Option<u32>> {
    if field.is_present() { field.integer_in(1..=u32::MAX).map(Some) } else { Some(default) }
}

fn count(fields: &mut Fields<'_>, name: &'static str, default: u32, least: u32, most: u32) -> Option<u32> {
    let field = fields.field(name);
    if field.is_present() { field.integer_in(least..=most) } else { Some(default) }
}

/// `None` for a wrong value, `Some(None)` for no limit.
fn seconds(field: &Field<'_>, in_compat: bool, default: Option<f64>) -> Option<Option<f64>> {
    let seconds = match field.node().map(|node| &node.value) {
        None => return Some(default),
        Some(Tree::Text(text)) if in_compat && text.starts_with('P') => match compat::duration_seconds(text) {
            Some(seconds) => seconds,
            None => {
                let how = "expected seconds, or an ISO 8601 duration of W, D, H, M and whole S such as PT1H30M";
                field.refuse("BadTimeout", format_args!("{how}, received {}", field.received()));
                return None;
            }
        },
        Some(_) => field.number()?,
    };
    if seconds <= 0.0 {
        field.refuse("BadTimeout", format_args!("{} must be > 0 seconds", number_text(seconds)));
        return None;
    }
    Some(Some(seconds))
}

fn check_together(field: &Field<'_>, limits: &Limits) -> bool {
    let concurrency_good = limits.max_concurrent_trials <= limits.max_total_trials;
    let trial_timeout = limits.trial_timeout_seconds.unwrap_or(0.0);
    let timeout_good = trial_timeout <= limits.timeout_seconds;
    let Some(mut fields) = field.map() else { return concurrency_good && timeout_good };
    fields.ignore_rest();
    if !concurrency_good {
        let (concurrent, total) = (limits.max_concurrent_trials, limits.max_total_trials);
        let message = format!("{concurrent} > {total}, the max_total_trials; lower it");
        fields.field("max_concurrent_trials").refuse("ConcurrencyAboveTotal", message);
    }
    if !timeout_good {
        let (trial, whole) = (number_text(trial_timeout), number_text(limits.timeout_seconds));
        let message = format!("{trial} must be <= timeout_seconds {whole}");
        let azure = fields.field("trial_timeout");
        let field = if azure.is_present() { azure } else { fields.field("trial_timeout_seconds") };
        field.refuse("BadTimeout", message);
    }
    concurrency_good && timeout_good
}

/// A cluster that never has a node is refused; a concurrency that it cannot give is worth a warning.
pub(super) fn check_gate(limits: &Limits, resources: &Resources, cluster: &ClusterFacts, findings: &Findings) {
    let (wanted, at_once) = (limits.max_concurrent_trials, cluster.trials_at_once(resources));
    if cluster.max_nodes == 0 {
        findings.refuse("/cluster", "NeverSchedulable", "cluster: needs 1 node, cluster max 0; raise its max_nodes");
    }
    // A trial that never fits is refused where its resources are read.
    if at_once > 0 && wanted > at_once {
        let message = format!("at most {at_once} at once on this cluster, not {wanted}; the others wait");
        let pointer = "/limits/max_concurrent_trials";
        findings.warn(pointer, "GatedByCluster", format!("limits.max_concurrent_trials: {message}"));
    }
}
