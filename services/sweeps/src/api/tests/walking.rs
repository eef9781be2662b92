//! The way of a sweep from its submission to its best trial, with repeats and restarts on the way.

use std::collections::BTreeSet;
use std::sync::Arc;

use contracts::sweeps as wire;
use feed::Reaction;
use prost::Message;
use serde_json::{Value, json};
use tonic::Request;

use super::{Bench, document};
use crate::reactions::FollowRuns;

#[tokio::test]
async fn a_sweep_goes_its_way() {
    let mut bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({"record_keeps": true}))).await;
    bench.fill(sweep).await;
    for trial in 0..2 {
        bench.moves(sweep, trial, 1, "Queued").await;
        bench.moves(sweep, trial, 1, "Running").await;
    }
    bench.reports(sweep, 0, 0, 0.9).await;
    bench.reports(sweep, 1, 0, 0.5).await;
    let trials = bench.trials(sweep).await;
    assert_eq!(trials[1].state, "Running");
    let position = trials[1].decision.strip_prefix(&format!("{sweep}@")).unwrap().parse::<i64>().unwrap();
    let event = &bench.api().log.read(position - 1, 1).await.unwrap()[0];
    assert_eq!(event.kind, "TrialStopRequested", "a decision is known by where it is in the log");
    let grounds = trials[1].stop.clone().unwrap();
    assert_eq!((grounds.goal.as_str(), grounds.value, grounds.interval), ("maximize", 0.5, 1));
    assert!(grounds.threshold.is_some_and(|threshold| threshold > 0.5) && trials[0].stop.is_none(), "{grounds:?}");
    // The stop meets a program that has just ended well: the decision is in the log and wins.
    bench.ends(sweep, 1, "completed").await;
    assert_eq!(bench.trials(sweep).await[1].state, "EarlyStopped");
    bench.ends(sweep, 0, "completed").await;
    bench.fill(sweep).await;
    bench.reports(sweep, 2, 0, 0.95).await;
    bench.ends(sweep, 2, "completed").await;
    bench.reports(sweep, 3, 0, f64::NAN).await;
    bench.ends(sweep, 3, "completed").await;
    let shown = bench.sweep(sweep).await;
    assert_eq!((shown.state.as_str(), shown.reason.as_str()), ("Completed", "max_total_trials"));
    let best = shown.best.unwrap();
    assert_eq!((best.trial_index, best.value), (2, 0.95));
    assert_eq!(shown.trial_counts, [("Completed".to_owned(), 3), ("EarlyStopped".to_owned(), 1)].into());
    let found = bench.verify(sweep).await;
    assert_eq!(found["checked"], json!({"proposals": 4, "decisions": 3}), "{found}");
    assert_eq!(found["differences"], json!([]));
    let facts = bench.facts().await;
    let last = &facts[facts.len() - 2..];
    assert_eq!([last[0].0.as_str(), last[1].0.as_str()], ["SweepStateChanged", "SweepStateChanged"]);
    let kinds: BTreeSet<&str> = facts.iter().map(|(kind, _)| kind.as_str()).collect();
    let expected = ["SweepStateChanged", "SweepSubmitted", "TrialEnded", "TrialProposed", "TrialStopRequested"];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn facts_say_everything_that_runs_needs() {
    let mut bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({}))).await;
    bench.fill(sweep).await;
    bench.reports(sweep, 0, 0, 0.9).await;
    bench.reports(sweep, 1, 0, 0.5).await;
    bench.ends(sweep, 1, "canceled").await;
    let facts = bench.facts().await;
    let of = |kind: &str| facts.iter().find(|(name, _)| name == kind).unwrap().1.clone();
    let proposed = wire::TrialProposed::decode(of("TrialProposed").as_slice()).unwrap();
    let job = proposed.job.unwrap();
    assert_eq!((proposed.workspace.as_str(), proposed.experiment.as_str()), ("default", "Default"));
    assert_eq!((proposed.run_name.as_str(), job.trial_index), ("digits-0", Some(0)));
    let parameters: Value = serde_json::from_str(&job.parameters_json).unwrap();
    assert_eq!(proposed.params["lr"], job.command[3]);
    assert_eq!(parameters["lr"].as_f64().unwrap().to_string(), job.command[3]);
    assert_eq!((job.primary_metric.as_str(), job.goal.as_str(), job.cluster.as_str()), ("val_acc", "maximize", "spot"));
    let stop = wire::TrialStopRequested::decode(of("TrialStopRequested").as_slice()).unwrap();
    let ended = wire::TrialEnded::decode(of("TrialEnded").as_slice()).unwrap();
    assert_eq!((stop.by.as_str(), stop.trial_index), ("policy", 1));
    let seen = stop.verdict.unwrap();
    assert_eq!((seen.policy.as_str(), seen.interval), ("bandit", 1));
    assert_eq!((seen.value, seen.threshold), (0.5, Some(0.9 - 0.1)));
    assert_eq!((ended.state.as_str(), &ended.decision, ended.best_value), ("EarlyStopped", &stop.decision, Some(0.5)));
}

#[tokio::test]
async fn facts_that_come_twice_and_restarts_change_nothing() {
    // Point 1 of what a user can rely on: nothing is done twice.
    let mut bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({}))).await;
    bench.fill(sweep).await;
    let heard = vec![
        bench.moves(sweep, 0, 1, "Running").await,
        bench.reports(sweep, 0, 0, 0.9).await,
        bench.reports(sweep, 0, 1, 0.91).await,
        bench.reports(sweep, 1, 0, 0.5).await,
        bench.ends(sweep, 1, "canceled").await,
    ];
    bench.fill(sweep).await;
    let before = bench.sweep(sweep).await;
    bench.again().await;
    for fact in &heard {
        bench.deliver(fact).await;
    }
    bench.fill(sweep).await;
    assert_eq!(bench.sweep(sweep).await, before);
    assert_eq!(bench.verify(sweep).await["differences"], json!([]));
}

#[tokio::test]
async fn a_state_of_a_newer_runs_is_passed_over_and_counted() {
    // Silence would leave a sweep standing still without a word; a halt would stop every tenant's.
    let mut bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({}))).await;
    bench.fill(sweep).await;
    let mut fact = bench.moves(sweep, 0, 1, "Running").await;
    let before = bench.sweep(sweep).await;
    let mut moved = contracts::runs::RunStateChanged::decode(fact.payload.as_slice()).unwrap();
    (moved.state, moved.state_kind) = ("Hibernating".into(), 99);
    (fact.position, fact.payload) = (fact.position + 1, moved.encode_to_vec());
    let handled = FollowRuns { log: bench.api().log.clone() }.handle(&fact).await;
    assert!(matches!(&handled, Err(feed::ReactError::Unknown(what)) if what.contains("Hibernating")), "{handled:?}");
    assert_eq!(bench.sweep(sweep).await, before);
}

#[tokio::test]
async fn why_tells_the_whole_story_of_a_trial() {
    let mut bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({}))).await;
    bench.fill(sweep).await;
    bench.reports(sweep, 0, 0, 0.9).await;
    bench.moves(sweep, 1, 1, "Running").await;
    bench.reports(sweep, 1, 0, 0.85).await;
    bench.reports(sweep, 0, 1, 0.99).await;
    bench.reports(sweep, 1, 1, 0.86).await;
    bench.ends(sweep, 1, "canceled").await;
    let request =
        wire::ExplainTrialRequest { workspace: "default".into(), sweep: "digits".into(), index: 1, deleted: false };
    let reply = bench.api().explain_trial(Request::new(request)).await.unwrap().into_inner();
    let why: Value = serde_json::from_str(&reply.explanation_json).unwrap();
    assert_eq!(why["proposal"]["seed"], json!("7"));
    assert!(why["proposal"]["parameters"]["lr"]["u"].is_number());
    let verdicts: Vec<&Value> = why["decisions"].as_array().unwrap().iter().collect();
    assert_eq!((&verdicts[0]["verdict"], &verdicts[1]["verdict"]), (&json!("keep"), &json!("stop")));
    assert_eq!(verdicts[1]["threshold"].as_f64(), Some(0.99 - 0.1));
    // The stop and its input by their places in the log.
    let at = |position: &Value| position.as_i64().unwrap();
    let log = bench.api().log.read(0, 100).await.unwrap();
    let kind = |position: i64| log[usize::try_from(position - 1).unwrap()].kind.as_str();
    assert_eq!(kind(at(&verdicts[1]["position"])), "TrialStopRequested");
    assert_eq!(kind(at(&verdicts[1]["inputs"][0]["position"])), "ObservationRecorded");
    assert_eq!(kind(at(&why["proposal"]["position"])), "TrialProposed");
    assert_eq!(why["attempts"][0]["node"], json!("node_7"));
    assert_eq!(why["attempts"][0]["end"], json!("canceled"));
    let absent =
        wire::ExplainTrialRequest { workspace: "default".into(), sweep: "digits".into(), index: 9, deleted: false };
    assert_eq!(super::problem(bench.api().explain_trial(Request::new(absent)).await).status, 404);
}

#[tokio::test]
async fn a_log_that_was_tampered_with_is_found_out() {
    // Verify is worth something only if it can fail.
    let bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({}))).await;
    bench.fill(sweep).await;
    let events = bench.api().log.read_stream(&crate::stream::stream_of(sweep), 0, 100).await.unwrap();
    let mut audit = crate::audit::Audit::new(None);
    for mut event in events {
        if event.version == 3 {
            let mut data: Value = serde_json::from_str(&event.data).unwrap();
            let u = data["draws"][0]["u"].as_f64().unwrap();
            data["draws"][0]["u"] = json!(f64::from_bits(u.to_bits() ^ 1));
            event.data = data.to_string();
        }
        if event.version == 4 {
            event.recorded_at_us -= 1;
        }
        audit.take(&event, &event.decode().unwrap());
    }
    assert_eq!(audit.differences.len(), 1);
    assert_eq!((audit.differences[0].trial, audit.differences[0].first_differing_bit), (0, Some(63)));
    assert!(crate::audit::verification(&audit)["log"]["L13"].as_str().unwrap().contains("position 4"));
}

/// What an older build proposed is computed again by its rule, in which a lattice of powers ended at 63.99999999999998.
#[tokio::test]
async fn each_proposal_is_verified_by_the_rules_that_made_it() {
    let bench = Bench::new().await;
    let (low, high) = (3.465_735_902_799_726_5, 4.158_883_083_359_671_5);
    let sweep = bench
        .submit(&document(json!({
            "search_space": {"lr": {"type": "qloguniform", "min_value": low, "max_value": high, "q": 32}},
            "sampling_algorithm": {"type": "random", "seed": 7},
            "limits": {"max_total_trials": 2, "max_concurrent_trials": 2},
        })))
        .await;
    bench.fill(sweep).await;
    let events = bench.api().log.read_stream(&crate::stream::stream_of(sweep), 0, 100).await.unwrap();
    for (version, written, found) in [(2, 64.0, 0), (1, 63.99999999999998, 0), (2, 63.99999999999998, 1), (1, 64.0, 1)]
    {
        let mut audit = crate::audit::Audit::new(None);
        for event in &events {
            let mut decoded: crate::sweep::SweepEvent = event.decode().unwrap();
            if let crate::sweep::SweepEvent::TrialProposed(proposed) = &mut decoded {
                proposed.sampler_version = version;
                if proposed.draws[0].value == tuning::Value::from(64.0) {
                    proposed.draws[0].value = tuning::Value::from(written);
                }
            }
            audit.take(event, &decoded);
        }
        assert_eq!((audit.proposals_checked, audit.differences.len()), (2, found), "{version} {written}");
        assert!(audit.unverifiable.is_empty());
    }
}

#[tokio::test]
async fn time_that_is_up_ends_the_sweep() {
    let mut bench = Bench::new().await;
    let limits = json!({"max_total_trials": 4, "max_concurrent_trials": 2, "timeout_seconds": 60});
    let sweep = bench.submit(&document(json!({"limits": limits}))).await;
    bench.fill(sweep).await;
    Arc::clone(&bench.clock).advance_us(60_000_000);
    bench.check_deadlines(sweep).await;
    assert_eq!(bench.sweep(sweep).await.state, "Completing");
    bench.ends(sweep, 0, "canceled").await;
    bench.ends(sweep, 1, "canceled").await;
    let shown = bench.sweep(sweep).await;
    assert_eq!((shown.state.as_str(), shown.reason.as_str()), ("Completed", "timeout"));
    assert_eq!(bench.trials(sweep).await[0].reason, "sweep_timeout");
}
