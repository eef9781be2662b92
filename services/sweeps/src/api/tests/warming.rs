//! Sweeps that begin with what earlier ones found.

use super::asking::{ask, external, tell};
use super::*;
use crate::sweep::Sweep;

/// A sweep of two parameters; a model proposes unless `changes` says otherwise.
pub(super) fn modelled(changes: Value) -> Value {
    let mut document = external(json!({
        "name": "cold",
        "objective": {"goal": "minimize", "primary_metric": "loss"},
        "search_space": {
            "x": {"type": "uniform", "min_value": -1, "max_value": 1},
            "y": {"type": "uniform", "min_value": -1, "max_value": 1},
        },
        "sampling_algorithm": {"type": "bayesian", "method": "gp", "seed": 7},
        "early_termination": null,
        "limits": {"max_total_trials": 12, "max_concurrent_trials": 4, "max_failed_trials": 60},
    }));
    if let (Value::Object(document), Value::Object(changes)) = (&mut document, changes) {
        document.extend(changes);
    }
    document
}

fn loss(parameters: &str) -> f64 {
    let parameters: Value = serde_json::from_str(parameters).unwrap();
    let at = |name: &str| parameters[name].as_f64().unwrap();
    (at("x") - 0.3).powi(2) + (at("y") + 0.4).powi(2)
}

/// Asks for trials and tells their losses, until so many are told.
pub(super) async fn runs(bench: &Bench, sweep: SweepId, trials: usize) -> Vec<wire::OfferedTrial> {
    let mut told = Vec::new();
    for _ in 0..trials {
        let offered = bench.asked(sweep, 1).await.trials.remove(0);
        let value = loss(&offered.parameters_json);
        let last = wire::TellTrialRequest { r#final: true, ..tell(sweep, offered.index, value) };
        bench.told(last).await;
        told.push(offered);
    }
    told
}

pub(super) async fn founded(bench: &Bench, document: &Value) -> SweepId {
    let reply = bench.api().submit_sweep(Request::new(submission(document))).await.unwrap().into_inner();
    SweepId::parse(&reply.id).unwrap()
}

pub(super) async fn is_verified(bench: &Bench, sweep: SweepId, proposals: u32) {
    let verified = bench.verify(sweep).await;
    let checked = &verified["checked"]["proposals"];
    assert_eq!((&verified["differences"], checked), (&json!([]), &json!(proposals)), "{verified}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_begins_with_what_an_earlier_sweep_found() {
    let mut bench = Bench::new().await;
    let cold = bench.submit(&modelled(json!({}))).await;
    let first = runs(&bench, cold, 12).await;
    let warm = json!({
        "name": "warm", "resume_from": ["cold"], "resume_trials": ["cold/3", {"sweep": cold.to_string(), "trial": 1}],
        "limits": {"max_total_trials": 20, "max_concurrent_trials": 4, "max_failed_trials": 60},
    });
    let dry = wire::SubmitSweepRequest { dry_run: true, ..submission(&modelled(warm.clone())) };
    let plan = bench.api().submit_sweep(Request::new(dry)).await.unwrap().into_inner().plan_json;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["trials"], 10, "ten observations and ten trials are the limit: {plan}");
    let warm = founded(&bench, &modelled(warm)).await;
    let delete = wire::DeleteSweepRequest {
        workspace: "default".into(),
        sweep: "cold".into(),
        ..wire::DeleteSweepRequest::default()
    };
    let used = problem(bench.api().delete_sweep(Request::new(delete.clone())).await);
    assert!(used.code == "InUse" && used.detail.contains(&warm.to_string()), "{used}");
    let mut told = runs(&bench, warm, 5).await;
    bench.again().await;
    told.extend(runs(&bench, warm, 5).await);
    // In the order of the earlier sweep.
    assert_eq!(told[0].parameters_json, first[1].parameters_json);
    assert_eq!(told[1].parameters_json, first[3].parameters_json);
    let cold_start = &plan["first_proposals"][2]["parameters"];
    assert_ne!(cold_start, &serde_json::from_str::<Value>(&first[0].parameters_json).unwrap());
    let shown = bench.sweep(warm).await;
    assert_eq!((shown.state.as_str(), shown.reason.as_str()), ("Completed", "max_total_trials"));
    is_verified(&bench, warm, 10).await;
    // Ten trials that know ten more are better than the first ten of a sweep that knew nothing.
    let best = |told: &[wire::OfferedTrial]| {
        told.iter().map(|offered| loss(&offered.parameters_json)).fold(f64::INFINITY, f64::min)
    };
    assert!(best(&told) <= best(&first), "{} after {}", best(&told), best(&first));
}

#[tokio::test]
async fn a_trial_that_goes_on_begins_with_its_last_checkpoint() {
    let mut bench = Bench::new().await;
    let trial = json!({"command": ["t", "${{search_space.lr}}"], "checkpoint": true});
    let first = bench.submit(&document(json!({"name": "first", "trial": trial}))).await;
    for trial in 0..4 {
        bench.fill(first).await;
        bench.reports(first, trial, 0, 0.5).await;
        bench.ends(first, trial, "completed").await;
    }
    let earlier = bench.trials(first).await;
    let next = founded(
        &bench,
        &document(json!({
            "name": "next", "trial": trial, "resume_from": ["first"], "resume_trials": ["first/2"],
            "limits": {"max_total_trials": 6, "max_concurrent_trials": 3},
        })),
    )
    .await;
    bench.fill(next).await;
    let trials = bench.trials(next).await;
    let of = |index: u32| earlier.iter().find(|trial| trial.index == index).unwrap();
    let goes_on = trials.iter().find(|trial| trial.index == 0).unwrap();
    assert_eq!((trials.len(), &goes_on.parameters_json), (3, &of(2).parameters_json));
    let jobs = bench.facts().await.into_iter().filter(|(kind, _)| kind == "TrialProposed");
    let jobs: Vec<String> = jobs
        .map(|(_, payload)| wire::TrialProposed::decode(payload.as_slice()).unwrap())
        .filter(|proposed| proposed.sweep_id == next.to_string())
        .map(|proposed| proposed.job.unwrap().checkpoint_from)
        .collect();
    assert_eq!(jobs, [of(2).run_id.clone(), String::new(), String::new()]);
    is_verified(&bench, next, 3).await;
    // The inherited ones are in no population: three observations are none for the policy.
    assert_eq!(bench.sweep(next).await.best, None);
}

#[tokio::test]
async fn what_cannot_warm_a_sweep_is_refused() {
    let bench = Bench::new().await;
    let cold = bench.submit(&modelled(json!({}))).await;
    let submit =
        async |changes: Value| problem(bench.api().submit_sweep(Request::new(submission(&modelled(changes)))).await);
    let running = submit(json!({"name": "w", "resume_from": ["cold"]})).await;
    assert_eq!((running.status, running.code.as_str()), (409, "WrongState"));
    runs(&bench, cold, 12).await;
    let absent = submit(json!({"name": "w", "resume_from": ["cold", "nowhere"]})).await;
    assert_eq!(absent.status, 404);
    let other = submit(json!({
        "name": "w", "resume_from": ["cold"], "objective": {"goal": "maximize", "primary_metric": "acc"},
        "search_space": {"x": {"type": "uniform", "min_value": -1, "max_value": 1}},
    }))
    .await;
    let codes: Vec<_> = other.errors.iter().map(|error| (error.code.as_str(), error.pointer.as_str())).collect();
    assert_eq!(codes, [("WarmStartMismatch", "/resume_from/0"); 2], "all at once: {other:?}");
    assert!(other.errors[0].message.contains("minimised loss; this maximises acc"), "{other:?}");
    let full = submit(json!({"name": "w", "resume_from": ["cold"]})).await;
    assert_eq!((full.status, full.errors[0].pointer.as_str()), (422, "/limits/max_total_trials"));
    // With what they share it works.
    let shared = json!({
        "name": "w", "resume_from": {"sweeps": ["cold"], "space": "intersect"},
        "search_space": {"x": {"type": "uniform", "min_value": -1, "max_value": 1}},
        "limits": {"max_total_trials": 16, "max_concurrent_trials": 1, "max_failed_trials": 60},
    });
    let warm = founded(&bench, &modelled(shared)).await;
    for _ in 0..4 {
        let offered = bench.asked(warm, 1).await.trials.remove(0);
        let last = wire::TellTrialRequest { r#final: true, ..tell(warm, offered.index, f64::from(offered.index)) };
        bench.told(last).await;
    }
    is_verified(&bench, warm, 4).await;
    let done = bench.api().ask_trials(Request::new(ask(warm, 1))).await.unwrap().into_inner();
    assert_eq!((done.trials.len(), done.state.as_str()), (0, "completed"));
}

#[tokio::test]
async fn of_a_deletion_and_a_sweep_that_begins_with_the_same_one_only_one_goes_through() {
    // Each had looked before the other one was written, and both went through.
    let bench = Bench::new().await;
    for round in 0..8 {
        let name = format!("cold-{round}");
        let cold = bench.submit(&modelled(json!({"name": name}))).await;
        runs(&bench, cold, 12).await;
        let limits = json!({"max_total_trials": 16, "max_concurrent_trials": 1, "max_failed_trials": 60});
        let warm = modelled(json!({"name": format!("warm-{round}"), "resume_from": [name], "limits": limits}));
        let delete = wire::DeleteSweepRequest {
            workspace: "default".to_owned(),
            sweep: name.clone(),
            runs: round % 2 == 0,
            used_by: Vec::new(),
        };
        let (api, other) = (bench.api(), bench.api());
        let (begun, deleted) = tokio::join!(
            api.submit_sweep(Request::new(submission(&warm))),
            other.delete_sweep(Request::new(delete.clone())),
        );
        assert!(begun.is_ok() != deleted.is_ok(), "round {round}: {begun:?}, {deleted:?}");
        let refused = begun.map(drop).and(deleted.map(drop)).unwrap_err();
        assert!(["NotFound", "InUse"].contains(&contracts::problem_of(&refused).code.as_str()), "{refused:?}");
    }
}

#[tokio::test]
async fn what_began_with_a_sweep_keeps_it_from_being_deleted_by_its_row_alone() {
    // Of one that was submitted in the same commit there is nothing else to see yet.
    let bench = Bench::new().await;
    let cold = bench.submit(&modelled(json!({}))).await;
    runs(&bench, cold, 12).await;
    let row = |sweep: String| {
        let context = eventlog::Context::new(uuid::Uuid::new_v5(&uuid::Uuid::nil(), sweep.as_bytes()), "t", "");
        bench.api().log.record::<Sweep, _>("a row", None, context, move |_, tx| {
            let sweep = sweep.clone();
            Box::pin(async move {
                let put = "INSERT INTO sweep_sources(source, sweep_id) VALUES ($1, $2)";
                eventlog::sql(put).bind(cold.to_string()).bind(sweep).execute(tx).await?;
                Ok(eventlog::Recorded { events: Vec::new(), reply: Vec::new() })
            })
        })
    };
    let delete = || wire::DeleteSweepRequest {
        workspace: "default".to_owned(),
        sweep: cold.to_string(),
        runs: false,
        used_by: Vec::new(),
    };
    row("not listed yet".to_owned()).await.unwrap();
    let refused = problem(bench.api().delete_sweep(Request::new(delete())).await);
    assert_eq!((refused.status, refused.code.as_str()), (409, "InUse"), "{refused}");
    assert!(refused.detail.contains("not listed yet"), "{refused}");
}
