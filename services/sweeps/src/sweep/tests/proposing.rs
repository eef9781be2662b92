//! Proposals and their limits.

use serde_json::json;
use vocabulary::{Decider, Problem};

use super::{Story, spec};
use crate::sweep::{Command, PauseMode, Rejection, SweepEvent};

#[test]
fn proposals_fill_the_concurrency_and_stop_at_the_total() {
    // A sweep that proposes more than its limits spends money that nobody allowed.
    let mut story = Story::of(spec(json!({})));
    assert_eq!(story.status(), ("Queued", String::new()));
    assert_eq!(story.fill(), 2);
    assert_eq!(story.status(), ("Running", String::new()));
    story.reports(0, &[0.5]);
    story.ends(0, "completed");
    assert_eq!(story.fill(), 1);
    story.ends(1, "completed");
    assert_eq!(story.fill(), 1);
    story.reports(2, &[0.4]);
    story.ends(2, "completed");
    assert_eq!(story.fill(), 0);
    story.ends(3, "completed");
    assert_eq!(story.status(), ("Completed", "max_total_trials".into()));
    assert_eq!(story.sweep.best().map(|best| (best.trial, best.value)), Some((0, 0.5)));
}

#[test]
fn a_proposal_that_comes_twice_or_late_is_refused() {
    // After a crash the reaction may send again what is in the log already: that must not become another trial.
    let mut story = Story::of(spec(json!({})));
    let command = story.next_proposals().unwrap();
    story.when(command.clone()).unwrap();
    let refused = Problem::from(story.when(command.clone()).unwrap_err());
    assert_eq!((refused.status, refused.code.as_str()), (409, "NothingToPropose"));
    story.ends(0, "completed");
    assert_eq!(story.when(command), Err(Rejection::NothingToPropose));
    assert_eq!(story.sweep.trials.len(), 2);
}

#[test]
fn more_proposals_than_are_allowed_are_cut() {
    let mut story = Story::of(spec(json!({})));
    let Some(Command::Propose { from, mut trials, at }) = story.next_proposals() else { panic!("a proposal") };
    trials.extend(trials.clone());
    let events = story.when(Command::Propose { from, trials, at }).unwrap();
    assert_eq!(super::kinds_of(&events), ["SweepStarted", "TrialProposed", "TrialProposed"]);
}

#[test]
fn a_trial_carries_everything_that_its_node_needs() {
    let mut story = Story::of(spec(json!({
        "search_space": {
            "lr-rate": {"type": "choice", "values": [0.5]},
            "opt": {"type": "choice", "values": ["sgd"]},
            "momentum": {"type": "uniform", "min_value": 0, "max_value": 1},
        },
        "limits": {"max_total_trials": 1, "trial_timeout_seconds": 60, "max_retries": 2},
        "trial": {
            "command": [
                "python", "t.py", "--lr=${{search_space.lr-rate}}",
                ["--m", "${{search_space.momentum}}"], "${{trial.index}}",
            ],
            "environment_variables": {"OPT": "${{search_space.opt}}"},
            "environment": {"python": "/opt/python"},
            "outputs": {"model": {}},
            "checkpoint": true,
        },
    })));
    story.fill();
    let SweepEvent::TrialProposed(proposed) = &story.events[2] else { panic!("{:?}", story.events) };
    let job = proposed.job.as_ref().unwrap();
    assert_eq!(job.command[..4], ["python", "t.py", "--lr=0.5", "--m"]);
    assert_eq!(job.command[5], "0");
    assert_eq!(job.environment_variables["OPT"], "sgd");
    let expected = [
        ("TRIALOG_PARAM_LR_RATE", "0.5"),
        ("TRIALOG_PARAM_OPT", "sgd"),
        ("TRIALOG_TRIAL_INDEX", "0"),
        ("TRIALOG_PRIMARY_METRIC", "val_acc"),
        ("TRIALOG_GOAL", "maximize"),
        ("TRIALOG_WORKSPACE", "default"),
    ];
    for (name, value) in expected {
        assert_eq!(job.contract_variables[name], value, "{name}");
    }
    assert_eq!(job.contract_variables["TRIALOG_RUN_ID"], proposed.run_id.to_string());
    assert_eq!(job.seed, tuning::trial_seed(7, 0).to_string());
    assert_eq!((job.timeout_seconds, job.max_retries, job.checkpoint), (60.0, 2, true));
    assert_eq!((job.python.as_str(), job.outputs.as_slice()), ("/opt/python", ["model".to_owned()].as_slice()));
}

#[test]
fn a_space_that_is_used_up_completes_the_sweep() {
    // Without this a grid of three points would wait for ever for its fourth trial.
    for algorithm in
        [json!("grid"), json!({"type": "random", "rule": "sobol", "seed": 3}), json!({"type": "random", "seed": 3})]
    {
        let mut story = Story::of(spec(json!({
            "search_space": {"lr": {"type": "choice", "values": [1, 2, 3]}},
            "sampling_algorithm": algorithm,
            "limits": {"max_total_trials": 10, "max_concurrent_trials": 5},
        })));
        assert_eq!(story.fill(), 3, "{algorithm}");
        assert_eq!(story.status(), ("Completing", "space_exhausted".into()));
        for trial in 0..3 {
            story.reports(trial, &[1.0]);
            story.ends(trial, "completed");
        }
        assert_eq!(story.status(), ("Completed", "space_exhausted".into()));
    }
}

#[test]
fn nothing_is_proposed_while_paused_or_ending() {
    let mut story = Story::of(spec(json!({})));
    story.fill();
    let at = story.now;
    assert_eq!(story.kinds(Command::Pause { mode: PauseMode::Drain, at }), ["SweepPaused"]);
    assert_eq!(story.kinds(Command::Pause { mode: PauseMode::Drain, at }), [""; 0]);
    story.ends(0, "completed");
    assert_eq!(story.sweep.basis().map(|basis| basis.from), None);
    assert_eq!(story.kinds(Command::Resume { at }), ["SweepResumed"]);
    assert_eq!(story.fill(), 1);
    story.when(Command::Cancel { by: "user".into(), at }).unwrap();
    assert_eq!(story.fill(), 0);
    assert!(story.sweep.decide(&Command::Resume { at }).is_err());
}
