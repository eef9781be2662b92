//! Submission: refusals in their order, names, repeats, dry runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use contracts::sweeps as wire;
use serde_json::{Value, json};
use tonic::Request;

use super::{Bench, cluster, document, keyed, problem, submission};
use crate::service::Core;
use crate::sweep::proposals;
use crate::tuner::{Suggest, Tuners, suggest};

#[tokio::test]
async fn a_document_is_answered_once_with_all_that_is_wrong_with_it() {
    // Who is told of an unknown field, then of a value and then of a cluster sends it three times.
    let bench = Bench::new().await;
    let api = bench.api();
    let code = format!("sha256:{}", "a".repeat(64));
    let wrong = document(json!({
        "trial": {"command": ["python", "t.py"], "code": code, "checkpont": true},
        "limits": {"max_total_trials": 0, "max_concurrent_trials": 1},
        "resume_from": ["gone", "lost"],
    }));
    for dry_run in [false, true] {
        let resolved = Some(wire::Resolved::default());
        let request = wire::SubmitSweepRequest { resolved, dry_run, ..submission(&wrong) };
        let refused = problem(api.submit_sweep(Request::new(request)).await);
        let errors: Vec<_> = refused.errors.iter().map(|e| (e.pointer.as_str(), e.code.as_str())).collect();
        let expected = [
            ("/cluster", "NotFound"),
            ("/limits/max_total_trials", "OutOfRange"),
            ("/resume_from/0", "NotFound"),
            ("/resume_from/1", "NotFound"),
            ("/trial/checkpont", "UnknownField"),
            ("/trial/code", "NotFound"),
        ];
        assert_eq!((refused.status, errors.as_slice()), (400, expected.as_slice()), "{refused}");
        assert_eq!(refused.code, refused.errors[0].code);
    }
    assert_eq!(bench.facts().await.len(), 0);
}

#[tokio::test]
async fn the_gravest_fault_decides_the_status() {
    let bench = Bench::new().await;
    let api = bench.api();
    let good = document(json!({}));
    let bad = document(json!({"objective": {"goal": "up", "primary_metric": ""}}));
    let with = |document: &Value, resolved| wire::SubmitSweepRequest { resolved, ..submission(document) };
    let absent = Some(wire::Resolved::default());
    let refused = problem(api.submit_sweep(Request::new(with(&bad, absent.clone()))).await);
    assert_eq!((refused.status, refused.errors.len()), (422, 3), "{refused}");
    let refused = problem(api.submit_sweep(Request::new(with(&good, absent))).await);
    assert_eq!((refused.status, refused.detail.as_str()), (404, "cluster 'spot' in workspace 'default'"));
    for state in ["Creating", "Deleting", "Failed"] {
        let refused = problem(api.submit_sweep(Request::new(with(&good, Some(cluster(state))))).await);
        assert_eq!((refused.status, refused.code.as_str()), (409, "ClusterNotReady"), "{state}");
    }
    let code = format!("sha256:{}", "a".repeat(64));
    let coded = document(json!({"trial": {"command": ["python", "t.py"], "code": code}}));
    assert_eq!(problem(api.submit_sweep(Request::new(submission(&coded))).await).status, 404);
    let unknown = document(json!({"limits": {"max_trails": 3}}));
    assert_eq!(problem(api.submit_sweep(Request::new(submission(&unknown))).await).status, 400);
    let format = wire::SubmitSweepRequest { format: "toml".into(), ..submission(&good) };
    assert_eq!(problem(api.submit_sweep(Request::new(format)).await).status, 415);
    assert_eq!(bench.facts().await.len(), 0);
}

#[tokio::test]
async fn a_name_is_taken_once_and_a_repeat_gets_the_first_reply() {
    // Row 52 and 53: a client that lost the answer must be able to ask again without a second sweep.
    let bench = Bench::new().await;
    let api = bench.api();
    let request = submission(&document(json!({})));
    let first = api.submit_sweep(keyed(9, 1, request.clone())).await.unwrap().into_inner();
    // Also when the cluster has gone meanwhile.
    let later = wire::SubmitSweepRequest { resolved: Some(wire::Resolved::default()), ..request.clone() };
    let again = api.submit_sweep(keyed(9, 1, later)).await.unwrap().into_inner();
    assert_eq!(first, again);
    let reused = problem(api.submit_sweep(keyed(9, 2, request.clone())).await);
    assert_eq!((reused.status, reused.code.as_str()), (422, "KeyReuse"));
    let taken = problem(api.submit_sweep(keyed(10, 1, request.clone())).await);
    assert_eq!((taken.status, taken.code.as_str()), (409, "NameTaken"));
    assert_eq!(taken.extra["sweep_id"], json!(first.id));
    // The refusal left nothing behind, and another workspace has names of its own.
    let elsewhere = wire::SubmitSweepRequest { workspace: "other".into(), ..request };
    let other = api.submit_sweep(keyed(10, 1, elsewhere)).await.unwrap().into_inner();
    assert_ne!(other.id, first.id);
    let unnamed = document(json!({"name": null}));
    let Value::Object(mut unnamed) = unnamed else { panic!() };
    unnamed.remove("name");
    let unnamed = Value::Object(unnamed);
    assert_ne!(bench.submit(&unnamed).await, bench.submit(&unnamed).await);
}

#[tokio::test]
async fn two_equal_requests_at_once_make_one_sweep() {
    let bench = Bench::new().await;
    let api = bench.api();
    let request = submission(&document(json!({})));
    let calls = (0..8).map(|_| api.submit_sweep(keyed(5, 1, request.clone())));
    let answers = futures_util::future::join_all(calls).await;
    let ids: std::collections::BTreeSet<String> =
        answers.into_iter().map(|answer| answer.unwrap().into_inner().id).collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_leaves_nothing() {
    let bench = Bench::new().await;
    let api = bench.api();
    let wanted = document(json!({"limits": {"max_total_trials": 3, "max_concurrent_trials": 2}}));
    let dry = wire::SubmitSweepRequest { dry_run: true, ..submission(&wanted) };
    let reply = api.submit_sweep(keyed(1, 1, dry.clone())).await.unwrap().into_inner();
    let plan: Value = serde_json::from_str(&reply.plan_json).unwrap();
    assert_eq!(plan["trials"], json!(3));
    assert_eq!(plan["first_proposals"].as_array().unwrap().len(), 3);
    assert_eq!(plan["intervals_at_which_policy_acts"][0], json!(1));
    assert!(plan["gates"].as_array().unwrap().len() >= 2);
    assert_eq!(bench.facts().await.len(), 0);
    // The real thing proposes the same, since the seed is given.
    let sweep = bench.submit(&wanted).await;
    bench.fill(sweep).await;
    let parameters: Value = serde_json::from_str(&bench.trials(sweep).await[0].parameters_json).unwrap();
    assert_eq!(plan["first_proposals"][0]["parameters"], parameters);
    // The name is taken now, which a dry run says too.
    assert_eq!(problem(api.submit_sweep(keyed(2, 1, dry)).await).code, "NameTaken");
}

#[tokio::test]
async fn warnings_are_told_and_strict_refuses_them() {
    let bench = Bench::new().await;
    let wide = document(json!({"limits": {"max_total_trials": 90, "max_concurrent_trials": 90}}));
    let reply = bench.api().submit_sweep(Request::new(submission(&wide))).await.unwrap().into_inner();
    assert_eq!(reply.warnings[0].code, "GatedByCluster");
    let strict = wire::SubmitSweepRequest { strict: true, ..submission(&wide) };
    assert_eq!(problem(bench.api().submit_sweep(Request::new(strict)).await).status, 422);
}

#[tokio::test]
async fn the_document_in_force_can_be_sent_again() {
    // What is shown is complete: a colleague can repeat the sweep from it.
    let bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({"sampling_algorithm": "random"}))).await;
    let shown = bench.sweep(sweep).await;
    let mut again: Value = serde_json::from_str(&shown.spec_json).unwrap();
    assert_eq!(again["sampling_algorithm"]["seed"].as_str().unwrap_or_default(), shown.seed);
    again["name"] = json!("digits-2");
    let second = bench.submit(&again).await;
    bench.fill(sweep).await;
    bench.fill(second).await;
    let parameters =
        |trials: Vec<wire::Trial>| trials.into_iter().map(|trial| trial.parameters_json).collect::<Vec<_>>();
    assert_eq!(parameters(bench.trials(sweep).await), parameters(bench.trials(second).await));
}

#[tokio::test]
async fn a_sweep_begins_with_the_trials_that_it_would_have_got_later() {
    // Otherwise what it costs to propose in one commit would be what is proposed.
    let samplers = [
        json!({"type": "random", "seed": 7}),
        json!({"type": "random", "rule": "sobol", "seed": 7}),
        json!("grid"),
        json!({"type": "bayesian", "seed": 7}),
    ];
    for sampler in samplers {
        let bench = Bench::new().await;
        let named = |name: &str| {
            let space = json!({"lr": {"type": "choice", "values": [1, 2, 3, 4, 5]}});
            document(json!({
                "name": name, "search_space": space, "sampling_algorithm": sampler,
                "early_termination": {"type": "none"}
            }))
        };
        let at_once = bench.submit(&named("at-once")).await;
        assert_eq!(bench.sweep(at_once).await.proposals, 2, "{sampler}: as many as run beside each other");
        let broken = Core {
            sampler: |_, _| panic!("planted"),
            tuners: Tuners::new(
                bench.api().log.clone(),
                Arc::clone(&bench.api().clock),
                Arc::clone(&bench.api().entropy),
                |_, _, _, _| panic!("planted"),
            ),
            ..bench.api().clone()
        };
        let later = bench.submit_to(&broken, &named("later")).await;
        assert_eq!(bench.sweep(later).await.proposals, 0, "{sampler}: a sampler that breaks refuses no sweep");
        bench.fill(later).await;
        let parameters = |trials: Vec<wire::Trial>| -> Vec<String> {
            trials.into_iter().map(|trial| trial.parameters_json).collect()
        };
        let (now, then) = (bench.trials(at_once).await, bench.trials(later).await);
        assert_eq!(parameters(now), parameters(then), "{sampler}");
        for sweep in [at_once, later] {
            let verified = bench.verify(sweep).await;
            assert_eq!((&verified["differences"], &verified["checked"]["proposals"]), (&json!([]), &json!(2)));
        }
    }
}

#[tokio::test]
async fn a_submission_does_not_wait_for_a_model_that_takes_long() {
    // A model of a large space takes seconds for each suggestion: a few submissions would hold up all others.
    let bench = Bench::new().await;
    let slow: Suggest = |tuner, inheritance, number, known| {
        while STILL.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        suggest(tuner, inheritance, number, known)
    };
    static STILL: AtomicBool = AtomicBool::new(true);
    let core = bench.api();
    let (log, clock, entropy) = (core.log.clone(), Arc::clone(&core.clock), Arc::clone(&core.entropy));
    let core = Core { tuners: Tuners::new(log, clock, entropy, slow), ..core.clone() };
    let sampler = json!({"type": "bayesian", "seed": 7});
    let document = document(json!({"sampling_algorithm": sampler, "early_termination": {"type": "none"}}));
    let sweep = bench.submit_to(&core, &document).await;
    assert_eq!(bench.sweep(sweep).await.state, "Queued", "it is there, and its trials come later");
    STILL.store(false, Ordering::SeqCst);
    bench.fill(sweep).await;
    assert_eq!(bench.sweep(sweep).await.proposals, 2);
}

/// How often a sampler was asked.
static ASKED: AtomicUsize = AtomicUsize::new(0);

#[tokio::test]
async fn nothing_is_computed_for_a_request_that_makes_no_sweep() {
    // A client that repeats itself, or takes one name again and again, must not keep the cores busy.
    let bench = Bench::new().await;
    let core = Core {
        sampler: |basis, most| {
            ASKED.fetch_add(1, Ordering::SeqCst);
            proposals(basis, most)
        },
        ..bench.api().clone()
    };
    let submit = async |key| core.submit_sweep(keyed(key, 1, submission(&document(json!({}))))).await;
    let first = submit(7).await.unwrap().into_inner();
    assert_eq!((first.state.as_str(), ASKED.load(Ordering::SeqCst)), ("Running", 1));
    let again = submit(7).await.unwrap().into_inner();
    assert_eq!(again, first);
    let refused = problem(submit(8).await);
    assert_eq!((refused.status, refused.code.as_str()), (409, "NameTaken"));
    let unnamed = core.submit_sweep(Request::new(submission(&document(json!({}))))).await;
    assert_eq!(problem(unnamed).status, 409);
    assert_eq!(ASKED.load(Ordering::SeqCst), 1, "it was asked for the one sweep that there is");
}
