//! Forks begin with what their sweep had found.

use super::asking::tell;
use super::replaying::what_if;
use super::warming::{is_verified, modelled, runs};
use super::*;

fn fork(sweep: SweepId, document: &Value) -> wire::ForkSweepRequest {
    wire::ForkSweepRequest {
        workspace: "default".into(),
        sweep: sweep.to_string(),
        document: document.to_string().into_bytes(),
        format: "json".into(),
    }
}

async fn forked(bench: &Bench, sweep: SweepId, document: Value) -> (SweepId, wire::SubmitSweepReply) {
    let reply = bench.api().fork_sweep(Request::new(fork(sweep, &document))).await.unwrap().into_inner();
    assert_eq!(reply.state, "Queued");
    (SweepId::parse(&reply.id).unwrap(), reply)
}

fn by_index(mut trials: Vec<wire::Trial>) -> Vec<wire::Trial> {
    trials.sort_by_key(|trial| trial.index);
    trials
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_modelled_fork_goes_on_from_where_the_sweep_was() {
    let mut bench = Bench::new().await;
    let sweep = bench.submit(&modelled(json!({}))).await;
    runs(&bench, sweep, 6).await;
    // Trial 6 is asked for and has not ended at the position; trial 7 has.
    bench.asked(sweep, 1).await;
    runs(&bench, sweep, 1).await;
    let at = *bench.api().log.head().borrow();
    runs(&bench, sweep, 3).await;
    let limits = json!({"max_total_trials": 12});
    let (fork, reply) = forked(&bench, sweep, json!({"at": at, "name": "other", "seed": 99, "limits": limits})).await;
    assert_eq!((reply.name.as_str(), reply.version), ("other", 2));
    let shown = bench.sweep(fork).await;
    assert_eq!((shown.proposals, shown.trial_counts["Completed"], shown.seed.as_str()), (7, 7, "99"));
    assert_eq!((shown.parent_sweep_id, shown.parent_position), (sweep.to_string(), at));
    let before = by_index(bench.trials(sweep).await);
    let own = by_index(bench.trials(fork).await);
    let source: Vec<_> = before.iter().filter(|trial| [0, 1, 2, 3, 4, 5, 7].contains(&trial.index)).collect();
    for (own, source) in own.iter().zip(source) {
        assert_eq!((&own.run_id, &own.parameters_json), (&source.run_id, &source.parameters_json));
        assert_eq!((own.best_value, own.intervals), (source.best_value, source.intervals));
    }
    let told = runs(&bench, fork, 3).await;
    assert_eq!(told.iter().map(|offered| offered.index).collect::<Vec<_>>(), [7, 8, 9]);
    bench.again().await;
    runs(&bench, fork, 2).await;
    let shown = bench.sweep(fork).await;
    assert_eq!((shown.state.as_str(), shown.reason.as_str(), shown.proposals), ("Completed", "max_total_trials", 12));
    is_verified(&bench, fork, 5).await;
    // A fork of the fork has all that the fork had.
    let head = *bench.api().log.head().borrow();
    let (again, _) = forked(&bench, fork, json!({"at": "latest", "limits": {"max_total_trials": 14}})).await;
    assert_eq!(bench.sweep(again).await.parent_position, head);
    assert_eq!(bench.sweep(again).await.proposals, 12);
    runs(&bench, again, 2).await;
    is_verified(&bench, again, 2).await;
}

#[tokio::test]
async fn what_had_ended_counts_for_the_policy_and_the_sampler_goes_on() {
    let mut bench = Bench::new().await;
    let sobol = json!({"type": "random", "rule": "sobol", "seed": 7});
    let sweep = bench
        .submit(&document(json!({
            "sampling_algorithm": sobol, "early_termination": {"type": "bandit", "slack_amount": 0.1},
            "limits": {"max_total_trials": 6, "max_concurrent_trials": 2},
        })))
        .await;
    bench.fill(sweep).await;
    for trial in [0, 1] {
        bench.moves(sweep, trial, 1, "Running").await;
        bench.reports(sweep, trial, 0, 0.9).await;
        bench.ends(sweep, trial, "completed").await;
    }
    bench.fill(sweep).await;
    let at = *bench.api().log.head().borrow();
    let (fork, _) = forked(&bench, sweep, json!({"at": at})).await;
    bench.fill(fork).await;
    let (own, source) = (by_index(bench.trials(fork).await), by_index(bench.trials(sweep).await));
    assert_eq!(own.len(), 4);
    // The same seed and space: the fork's next points are those that the sweep had next.
    assert_eq!(own[2].parameters_json, source[2].parameters_json);
    assert_ne!(own[2].run_id, source[2].run_id);
    // 0.5 is far from the 0.9 of a trial that ran in the other sweep.
    bench.moves(fork, 2, 1, "Running").await;
    bench.reports(fork, 2, 0, 0.5).await;
    let stopped = by_index(bench.trials(fork).await);
    assert!(!stopped[2].decision.is_empty(), "{:?}", stopped[2]);
    is_verified(&bench, fork, 2).await;
    // Other policies see the whole curves, those of the adopted trials too.
    let answer = what_if(&bench, &fork.to_string(), json!({"policies": ["none"]})).await.unwrap();
    assert_eq!(answer["policies"][0]["reports_recorded"], 3);
    // Without the policy it is not stopped.
    let (lenient, _) = forked(&bench, sweep, json!({"at": at, "early_termination": "none"})).await;
    bench.fill(lenient).await;
    bench.moves(lenient, 2, 1, "Running").await;
    bench.reports(lenient, 2, 0, 0.5).await;
    assert!(by_index(bench.trials(lenient).await)[2].decision.is_empty());
    is_verified(&bench, lenient, 2).await;
}

#[tokio::test]
async fn another_space_keeps_what_lies_in_it() {
    let bench = Bench::new().await;
    let sampling = json!({"sampling_algorithm": {"type": "random", "seed": 7}});
    let sweep = bench.submit(&modelled(sampling)).await;
    let told = runs(&bench, sweep, 10).await;
    let inside = told.iter().filter(|offered| {
        serde_json::from_str::<Value>(&offered.parameters_json).unwrap()["x"].as_f64().unwrap() > 0.0
    });
    let inside = u32::try_from(inside.count()).unwrap();
    assert!((1..10).contains(&inside));
    let space = json!({
        "x": {"type": "uniform", "min_value": 0, "max_value": 1},
        "y": {"type": "uniform", "min_value": -1, "max_value": 1},
    });
    let at = *bench.api().log.head().borrow();
    let (fork, reply) = forked(&bench, sweep, json!({"at": at, "search_space": space})).await;
    assert_eq!((reply.warnings.len(), reply.warnings[0].code.as_str()), (1, "OutsideSpace"));
    assert_eq!(bench.sweep(fork).await.proposals, inside);
    let offered = bench.asked(fork, 1).await.trials.remove(0);
    bench.told(wire::TellTrialRequest { r#final: true, ..tell(fork, offered.index, 0.5) }).await;
    is_verified(&bench, fork, 1).await;
}

/// Bounds that look like real ones are refused today. A sweep that was accepted before goes on, and so do its forks.
#[tokio::test]
async fn what_was_accepted_once_is_not_judged_anew() {
    let bench = Bench::new().await;
    let space = |max: f64| json!({"lr": {"type": "loguniform", "min_value": 0.001, "max_value": max}});
    let mut said = space(0.1);
    said["lr"]["bounds"] = json!("exponents");
    let refused = bench.api().submit_sweep(Request::new(submission(&document(json!({"search_space": space(0.1)})))));
    assert_eq!(problem(refused.await).errors[0].code, "LikelyRealBounds");
    let sweep = bench.submit(&document(json!({"search_space": said}))).await;
    bench.fill(sweep).await;
    let at = *bench.api().log.head().borrow();
    for document in [json!({"at": at}), json!({"at": at, "search_space": space(0.1)})] {
        let reply = bench.api().fork_sweep(Request::new(fork(sweep, &document))).await.unwrap().into_inner();
        assert!(reply.warnings.iter().all(|warning| warning.code != "LikelyRealBounds"));
    }
    let other = fork(sweep, &json!({"at": at, "search_space": space(0.2)}));
    let other = problem(bench.api().fork_sweep(Request::new(other)).await);
    assert_eq!((other.status, other.errors[0].code.as_str()), (422, "LikelyRealBounds"));
}

#[tokio::test]
async fn what_cannot_be_forked_is_refused_with_all_errors() {
    let bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({}))).await;
    let ask = async |document: Value| problem(bench.api().fork_sweep(Request::new(fork(sweep, &document))).await);
    let wrong = ask(json!({
        "seed": -1, "early_termination": {"type": "bandit"}, "limits": {"max_total_trials": 0},
        "search_space": {"rate": {"type": "uniform", "min_value": 0, "max_value": 1}},
    }))
    .await;
    let found: Vec<_> = wrong.errors.iter().map(|error| (error.pointer.as_str(), error.code.as_str())).collect();
    let expected = [
        ("/at", "Required"),
        ("/early_termination", "ExactlyOne"),
        ("/limits/max_total_trials", "OutOfRange"),
        ("/search_space", "UnknownReference"),
        ("/seed", "BadSeed"),
    ];
    assert_eq!((wrong.status, found.as_slice()), (422, expected.as_slice()));
    assert_eq!(ask(json!({"at": 1, "sampling_algorithm": "random"})).await.status, 400);
    let late = ask(json!({"at": 9000})).await;
    assert_eq!((late.status, late.errors[0].pointer.as_str()), (422, "/at"));
    let taken = ask(json!({"at": 1, "name": "digits"})).await;
    assert_eq!((taken.status, taken.code.as_str()), (409, "NameTaken"));
    let absent = wire::ForkSweepRequest { sweep: "nothing".into(), ..fork(sweep, &json!({"at": 1})) };
    assert_eq!(problem(bench.api().fork_sweep(Request::new(absent)).await).status, 404);
    // A repeat under the same key is the same fork.
    let first = bench.api().fork_sweep(keyed(7, 1, fork(sweep, &json!({"at": 1})))).await.unwrap().into_inner();
    let again = bench.api().fork_sweep(keyed(7, 1, fork(sweep, &json!({"at": 1})))).await.unwrap().into_inner();
    assert_eq!(first.id, again.id);
}
