//! What other tools call a field or a value: people who come from them are told our word, where no likeness of letters
//! would lead to it.

use crate::work;

/// Fields as Optuna, W&B, Azure, Katib and Ray write them, letters and digits in lower case, and ours in the order of
/// likelihood. Of `a.b` the `a` must be a field of the place.
const FIELDS: &[(&str, &[&str])] = &[
    // The whole document.
    ("compute", &["cluster"]),
    ("computetarget", &["cluster"]),
    ("displayname", &["name"]),
    ("studyname", &["name"]),
    ("experimentname", &["experiment"]),
    ("project", &["experiment"]),
    ("parameters", &["search_space", "trial.parameters", "params"]),
    ("parameterspace", &["search_space"]),
    ("paramspace", &["search_space"]),
    ("hyperparameters", &["search_space"]),
    ("config", &["search_space"]),
    ("space", &["search_space"]),
    ("method", &["sampling_algorithm"]),
    ("algorithm", &["sampling_algorithm", "type"]),
    ("sampler", &["sampling_algorithm"]),
    ("sampling", &["sampling_algorithm"]),
    ("searchalg", &["sampling_algorithm"]),
    ("hyperparametersampling", &["sampling_algorithm"]),
    ("policy", &["early_termination"]),
    ("pruner", &["early_termination"]),
    ("scheduler", &["early_termination"]),
    ("earlyterminate", &["early_termination"]),
    ("earlystopping", &["early_termination"]),
    ("earlyterminationpolicy", &["early_termination"]),
    ("metric", &["primary_metric", "objective"]),
    ("metrics", &["objective", "primary_metric"]),
    ("primarymetric", &["objective.primary_metric"]),
    ("primarymetricname", &["primary_metric", "objective.primary_metric"]),
    ("primarymetricgoal", &["goal", "objective.goal"]),
    ("objectivemetricname", &["primary_metric", "objective.primary_metric"]),
    ("objectivetype", &["goal", "objective.goal"]),
    ("direction", &["goal", "objective.goal"]),
    ("directions", &["objectives"]),
    ("goal", &["target", "objective.goal"]),
    ("program", &["command", "trial.command"]),
    ("script", &["command", "trial.command"]),
    ("entrypoint", &["command", "trial.command"]),
    ("cmd", &["command", "trial.command"]),
    ("args", &["command", "trial.command"]),
    ("trialtemplate", &["trial"]),
    ("job", &["trial"]),
    ("ntrials", &["max_total_trials", "limits.max_total_trials"]),
    ("numsamples", &["max_total_trials", "limits.max_total_trials"]),
    ("runcap", &["max_total_trials", "limits.max_total_trials"]),
    ("maxtrials", &["max_total_trials", "limits.max_total_trials"]),
    ("maxtrialcount", &["max_total_trials", "limits.max_total_trials"]),
    ("maxtotalruns", &["max_total_trials", "limits.max_total_trials"]),
    ("njobs", &["max_concurrent_trials", "limits.max_concurrent_trials"]),
    ("paralleltrialcount", &["max_concurrent_trials", "limits.max_concurrent_trials"]),
    ("maxconcurrent", &["max_concurrent_trials", "limits.max_concurrent_trials"]),
    ("maxconcurrentruns", &["max_concurrent_trials", "limits.max_concurrent_trials"]),
    ("maxfailedtrialcount", &["max_failed_trials", "limits.max_failed_trials"]),
    ("maxfailures", &["max_retries", "limits.max_retries"]),
    ("timebudgets", &["timeout_seconds", "limits.timeout_seconds"]),
    ("timeout", &["timeout_seconds", "limits.timeout_seconds", "request_timeout_seconds"]),
    ("maxdurationminutes", &["timeout_seconds", "limits.timeout_seconds"]),
    ("trialtimeout", &["trial_timeout_seconds"]),
    ("resourcespertrial", &["trial.resources", "resources"]),
    // Policies.
    ("graceperiod", &["min_resource", "delay_evaluation"]),
    ("miniter", &["min_resource", "delay_evaluation"]),
    ("startstep", &["delay_evaluation", "min_resource"]),
    ("nwarmupsteps", &["delay_evaluation", "min_resource"]),
    ("nstartuptrials", &["delay_evaluation"]),
    ("delayinterval", &["delay_evaluation"]),
    ("intervalsteps", &["evaluation_interval", "perturbation_interval"]),
    ("maxt", &["max_resource"]),
    ("maxiter", &["max_resource"]),
    ("rmax", &["max_resource"]),
    ("eta", &["reduction_factor"]),
    ("quantilefraction", &["quantile"]),
    ("slack", &["slack_factor", "slack_amount"]),
    // Parameters.
    ("distribution", &["type"]),
    ("parametertype", &["type"]),
    ("kind", &["type"]),
    ("min", &["min_value", "min_nodes"]),
    ("low", &["min_value"]),
    ("lower", &["min_value"]),
    ("max", &["max_value", "upper", "max_nodes"]),
    ("high", &["max_value", "upper"]),
    ("upper", &["max_value"]),
    ("choices", &["values"]),
    ("categories", &["values"]),
    ("list", &["values"]),
    ("value", &["values"]),
    ("probabilities", &["weights"]),
    ("step", &["q"]),
    ("quantum", &["q"]),
    ("q", &["step"]),
    ("base", &["logbase"]),
    ("mean", &["mu"]),
    ("loc", &["mu"]),
    ("std", &["sigma"]),
    ("stddev", &["sigma"]),
    ("sd", &["sigma"]),
    ("suggestfloat", &["type: uniform"]),
    ("suggestuniform", &["type: uniform"]),
    ("suggestloguniform", &["type: log_uniform_values"]),
    ("suggestdiscreteuniform", &["type: quniform"]),
    ("suggestint", &["type: int_uniform"]),
    ("suggestcategorical", &["type: choice"]),
    ("log", &["type: log_uniform_values"]),
    ("feasiblespace", &["min_value", "values"]),
    // Trials, jobs, clusters, deployments.
    ("env", &["environment_variables"]),
    ("envvars", &["environment_variables"]),
    ("codedir", &["code"]),
    ("sourcedirectory", &["code"]),
    ("workingdir", &["code"]),
    ("cpu", &["cpu_count"]),
    ("cpus", &["cpu_count"]),
    ("numcpus", &["cpu_count"]),
    ("gpu", &["gpu_count"]),
    ("gpus", &["gpu_count"]),
    ("numgpus", &["gpu_count"]),
    ("memory", &["memory_bytes"]),
    ("mem", &["memory_bytes"]),
    ("nodes", &["node_count", "scale.max_nodes"]),
    ("instancetype", &["vm_size", "resources"]),
    ("size", &["vm_size"]),
    ("tier", &["vm_priority"]),
    ("mininstances", &["min_nodes", "scale.min_nodes"]),
    ("maxinstances", &["max_nodes", "scale.max_nodes"]),
    ("minnodes", &["scale.min_nodes"]),
    ("maxnodes", &["scale.max_nodes"]),
    ("idletimebeforescaledown", &["idle_seconds_before_scaledown"]),
    ("replicas", &["instance_count"]),
    ("instances", &["instance_count"]),
    ("authmode", &["auth"]),
];

/// The same for values. What stands behind the first word says how to write the rest of what was meant.
const VALUES: &[(&str, &str)] = &[
    // Algorithms.
    ("bayes", "bayesian"),
    ("bayesianoptimization", "bayesian"),
    ("bayesopt", "bayesian"),
    ("hyperopt", "bayesian, with method: tpe"),
    ("optuna", "bayesian, with method: tpe"),
    ("tpe", "bayesian, with method: tpe"),
    ("tpesampler", "bayesian, with method: tpe"),
    ("gp", "bayesian, with method: gp"),
    ("gpsampler", "bayesian, with method: gp"),
    ("cmaes", "bayesian, with method: cma_es"),
    ("cmaessampler", "bayesian, with method: cma_es"),
    ("sobol", "random, with rule: sobol"),
    ("qmcsampler", "random, with rule: sobol"),
    ("randomsampler", "random"),
    ("gridsampler", "grid"),
    ("bohb", "bayesian, with method: tpe and early_termination: {type: hyperband, max_resource: R}"),
    // Goals.
    ("min", "minimize"),
    ("max", "maximize"),
    // Policies.
    ("ashascheduler", "asha"),
    ("asynchyperband", "asha"),
    ("asynchyperbandscheduler", "asha"),
    ("successivehalving", "asha"),
    ("successivehalvingpruner", "asha"),
    ("hyperbandpruner", "hyperband"),
    ("hyperbandscheduler", "hyperband"),
    ("medianpruner", "median_stopping"),
    ("medianstop", "median_stopping"),
    ("medianstoppingrule", "median_stopping"),
    ("percentilepruner", "truncation_selection"),
    ("populationbasedtraining", "pbt"),
    ("noppruner", "none"),
    // Parameters.
    ("categorical", "choice"),
    ("discrete", "choice"),
    ("constant", "choice, with one of values"),
    ("double", "uniform"),
    ("float", "uniform"),
    ("int", "int_uniform"),
    ("integer", "int_uniform"),
    ("lograndint", "q_log_uniform_values, with q: 1"),
    ("suggestfloat", "uniform, or log_uniform_values for log=True"),
    ("suggestuniform", "uniform"),
    ("suggestloguniform", "log_uniform_values"),
    ("suggestdiscreteuniform", "quniform"),
    ("suggestint", "int_uniform, or q_log_uniform_values with q: 1 for log=True"),
    ("suggestcategorical", "choice"),
    ("qlog", "q_log_uniform_values"),
    ("invloguniformvalues", "log_uniform_values"),
    // Clusters and files.
    ("lowpriority", "low_priority"),
    ("spot", "low_priority"),
    ("romount", "mount"),
];

/// Longer names are nobody's.
const LONGEST: usize = 40;

/// Our field for one of another tool, where `names` has it.
pub(crate) fn field(received: &str, names: &[&str]) -> Option<&'static str> {
    let plain = plain(received)?;
    work::add(1);
    let ours = FIELDS.iter().find(|(theirs, _)| *theirs == plain)?.1;
    let here = |ours: &&&'static str| {
        let first = ours.split(['.', ':']).next().unwrap_or_default();
        first != received && names.contains(&first)
    };
    ours.iter().find(here).copied()
}

/// Our value for one of another tool, where `allowed` has it.
pub(crate) fn value(received: &str, allowed: &[&str]) -> Option<&'static str> {
    let plain = plain(received)?;
    let (_, ours) = VALUES.iter().find(|(theirs, _)| *theirs == plain)?;
    allowed.contains(&ours.split([',', ' ']).next().unwrap_or_default()).then_some(*ours)
}

fn plain(name: &str) -> Option<String> {
    (name.len() <= LONGEST).then(|| name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_other_tools_lead_to_ours_where_they_are_offered() {
        let root = ["cluster", "search_space", "limits", "objective", "sampling_algorithm", "early_termination"];
        for (theirs, ours) in [
            ("compute", Some("cluster")),
            ("parameters", Some("search_space")),
            ("method", Some("sampling_algorithm")),
            ("metric", Some("objective")),
            ("n_trials", Some("limits.max_total_trials")),
            ("maxTrialCount", Some("limits.max_total_trials")),
            ("grace_period", None),
        ] {
            assert_eq!(field(theirs, &root), ours, "{theirs}");
        }
        let rungs = ["min_resource", "max_resource", "reduction_factor"];
        assert_eq!(field("grace_period", &rungs), Some("min_resource"));
        assert_eq!(field("max_t", &rungs), Some("max_resource"));
        assert_eq!(field(&"x".repeat(1 << 20), &rungs), None);
        assert_eq!(value("bayes", &["random", "bayesian"]), Some("bayesian"));
        assert_eq!(value("TPESampler", &["random", "bayesian"]), Some("bayesian, with method: tpe"));
        assert_eq!(value("tpe", &["random", "grid"]), None);
    }

    #[test]
    fn no_word_is_written_so_that_it_is_never_found_or_twice() {
        let is_plain = |word: &str| plain(word).as_deref() == Some(word);
        let mut words: Vec<&str> = FIELDS.iter().map(|(theirs, _)| *theirs).collect();
        assert!(words.iter().chain(VALUES.iter().map(|(theirs, _)| theirs)).all(|word| is_plain(word)));
        words.sort_unstable();
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]), "{words:?}");
    }
}
