//! The reference against the reader: what the tables of the sweep document promise is so.

use documents::reference::{
    FURTHER_OBJECTIVE, KEPT_CHECKPOINT, PARAMETERS, POLICIES, RESUME_TRIAL, SAMPLERS, SWEEP, probes, probes_at,
};
use serde_json::{Value, json};

use super::*;

#[test]
fn what_the_reference_says_of_a_field_is_what_the_reader_does() {
    let base = json!({
        "cluster": "spot",
        "objective": {"goal": "maximize", "primary_metric": "val_acc"},
        "search_space": {"lr": {"type": "choice", "values": [1, 2]}},
        "sampling_algorithm": {"type": "random"},
        "limits": {"max_total_trials": 40, "max_concurrent_trials": 4},
        "trial": {"command": ["python", "train.py"], "checkpoint": true},
    });
    let with = |section: &str, value: Value| {
        let mut document = base.clone();
        document[section] = value;
        document
    };
    let mut several = with("objectives", json!([{"goal": "maximize", "primary_metric": "val_acc"}]));
    several.as_object_mut().unwrap().remove("objective");
    let mut resumed = with("resume_trials", json!([{"sweep": "before", "trial": 3}]));
    resumed["resume_from"] = json!(["before"]);
    let read = |text: &str| {
        let read = read_sweep(text.as_bytes(), Format::Json, &ServerLimits::default(), None, false);
        read.map(|(spec, _)| format!("{spec:?}"))
    };
    let mut probes = probes(&SWEEP, &base, &[("bandit", "slack_amount", "0.1")]);
    probes.extend(probes_at("/objectives/0", &FURTHER_OBJECTIVE, &several, &[]));
    probes.extend(probes_at("/resume_trials/0", &RESUME_TRIAL, &resumed, &[]));
    let mut kept = base.clone();
    kept["trial"]["checkpoint"] = json!({"keep": "last"});
    probes.extend(probes_at("/trial/checkpoint", &KEPT_CHECKPOINT, &kept, &[]));
    assert!(probes.len() > 400, "{} probes", probes.len());
    let faults: Vec<String> = probes.iter().filter_map(|probe| probe.check(&read).err()).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_kind_has_a_table() {
    let sorted = |mut names: Vec<&'static str>| {
        names.sort_unstable();
        names
    };
    assert_eq!(sorted(POLICIES.names()), sorted(tuning::PolicySpec::KINDS.to_vec()));
    assert_eq!(sorted(PARAMETERS.names()), sorted(tuning::Distribution::KINDS.to_vec()));
    assert_eq!(SAMPLERS.names(), super::super::sampler::KINDS);
}
