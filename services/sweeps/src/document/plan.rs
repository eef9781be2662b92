//! What a sweep would do: the part of a dry run's answer that needs no sampler.

use serde::Serialize;
use tuning::{PolicySpec, finite_size};

use super::spec::{ClusterFacts, SweepSpec};

/// So many intervals show the rhythm.
const INTERVALS_SHOWN: u64 = 10;

/// A dry run's plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Trials that will run: the limit, or fewer when the space is used up before.
    pub trials: u64,
    /// The first intervals of a trial at which the policy is asked; empty without a policy.
    pub intervals_at_which_policy_acts: Vec<u64>,
    /// What holds trials back.
    pub gates: Vec<String>,
}

/// The plan of a sweep. The gates need what is known about the cluster.
pub fn plan(spec: &SweepSpec, cluster: Option<&ClusterFacts>) -> Plan {
    let limits = &spec.limits;
    let limit =
        u64::from(limits.max_new_trials.map_or(limits.max_total_trials, |new| new.min(limits.max_total_trials)));
    let points = finite_size(&spec.space).map_or(limit, |size| u64::try_from(size).unwrap_or(u64::MAX));
    let mut gates = vec![format!("max_concurrent_trials: at most {} at once", spec.limits.max_concurrent_trials)];
    if points < limit {
        gates.push(format!("search_space: {points} configurations, fewer than the {limit} trials of the limits"));
    }
    if let Some(cluster) = cluster {
        let at_once = cluster.trials_at_once(&spec.trial.resources);
        gates.push(format!("cluster '{}': at most {at_once} at once on {} nodes", spec.cluster, cluster.max_nodes));
    }
    Plan { trials: points.min(limit), intervals_at_which_policy_acts: first_intervals(&spec.policy), gates }
}

fn first_intervals(policy: &PolicySpec) -> Vec<u64> {
    let (every, delay) = match *policy {
        PolicySpec::None => return Vec::new(),
        PolicySpec::Bandit { evaluation_interval, delay_evaluation, .. }
        | PolicySpec::MedianStopping { evaluation_interval, delay_evaluation }
        | PolicySpec::TruncationSelection { evaluation_interval, delay_evaluation, .. } => {
            (u64::from(evaluation_interval.max(1)), u64::from(delay_evaluation))
        }
        PolicySpec::Pbt { perturbation_interval, .. } => (u64::from(perturbation_interval.max(1)), 0),
        PolicySpec::Asha { .. } | PolicySpec::Hyperband { .. } | PolicySpec::LearningCurve { .. } => {
            return tuning::rung_intervals(policy).into_iter().take(INTERVALS_SHOWN as usize).map(u64::from).collect();
        }
    };
    let first = delay.div_ceil(every).max(1);
    (first..first + INTERVALS_SHOWN).map(|multiple| multiple * every).collect()
}
