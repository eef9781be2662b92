//! What Azure's Bayesian sampler does not take, in its mode.

use crate::space::{Distribution, Issue, SearchSpace};
use crate::value::number_text;

/// Most steps of a quniform: Azure's own limit.
const POINTS_MAX: f64 = 100_000.0;

/// The rules of `bayesian` in compat azure.
pub(crate) fn check_bayesian(space: &SearchSpace) -> Vec<Issue> {
    let mut issues = Vec::new();
    for parameter in &space.parameters {
        let (name, kind) = (&parameter.name, parameter.distribution.kind());
        match parameter.distribution {
            Distribution::Choice { .. } | Distribution::Uniform { .. } => {}
            Distribution::Quniform { min_value, max_value, q, .. } => {
                let steps = (max_value - min_value) / q;
                if steps > POINTS_MAX {
                    let (steps, most) = (number_text(steps), number_text(POINTS_MAX));
                    let message = format!("{name}: {steps} steps of q, limit {most} with bayesian; use a larger q");
                    issues.push(Issue::error(name, "q", "TooManyPoints", message));
                }
            }
            _ => {
                let message = format!(
                    "{name} is {kind}; bayesian in compat azure takes choice, uniform, quniform; use one of them or \
                     the native mode"
                );
                issues.push(Issue::error(name, "type", "UnsupportedForBayesian", message));
            }
        }
    }
    issues
}
