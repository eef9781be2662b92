//! Finished trials of elsewhere as a sweep: everything that reads sweeps works on it.

use contracts::sweeps as wire;
use serde_json::{Value, json};
use tonic::{Request, Response, Status};
use vocabulary::SweepId;

use super::{Bench, keyed, problem};

fn request(document: &Value) -> wire::ImportSweepRequest {
    wire::ImportSweepRequest {
        workspace: "default".into(),
        document: document.to_string().into_bytes(),
        format: "json".into(),
    }
}

async fn import(bench: &Bench, document: &Value) -> Result<Response<wire::SubmitSweepReply>, Status> {
    bench.api().import_sweep(Request::new(request(document))).await
}

fn table(trials: &Value) -> Value {
    json!({
        "name": "old",
        "objective": {"goal": "minimize", "primary_metric": "loss"},
        "search_space": {
            "lr": {"type": "log_uniform_values", "min_value": 1e-5, "max_value": 0.1},
            "optimizer": {"type": "choice", "values": ["adam", "sgd"]},
            "momentum": {"type": "uniform", "min_value": 0, "max_value": 1, "when": {"optimizer": "sgd"}},
            "extra": {"type": "quniform", "min_value": 0, "max_value": 8, "q": 2},
        },
        "trials": trials,
    })
}

fn good() -> Value {
    let mut trials = vec![
        json!({"parameters": {"lr": 0.01, "optimizer": "sgd", "momentum": 0.5, "extra": 4}, "state": "completed",
            "value": 0.25, "intermediate": [{"step": 10, "value": 0.5}, {"step": 5, "value": 0.75}]}),
        json!({"parameters": {"lr": 0.1, "optimizer": "adam"}, "state": "pruned",
            "intermediate": [{"step": 0, "value": "NaN"}, {"step": 1, "value": 0.9}], "tags": {"by": "hand"}}),
        json!({"parameters": {}, "state": "failed"}),
        json!({"parameters": {"lr": 1e-5}, "state": "completed", "value": "Infinity"}),
    ];
    trials.extend((0..10).map(|at| {
        let lr = 1e-5 * 2.0_f64.powi(at);
        json!({"parameters": {"lr": lr, "optimizer": "adam", "extra": at % 5 * 2}, "state": "completed",
            "value": 1.0 + f64::from(at)})
    }));
    Value::Array(trials)
}

#[tokio::test]
async fn an_imported_sweep_is_over_and_reads_like_any_other() {
    let mut bench = Bench::new().await;
    let reply = bench.api().import_sweep(keyed(1, 1, request(&table(&good())))).await.unwrap().into_inner();
    assert_eq!((reply.state.as_str(), reply.name.as_str()), ("Completed", "old"));
    let again = bench.api().import_sweep(keyed(1, 1, request(&table(&good())))).await.unwrap().into_inner();
    assert_eq!(again, reply, "a repeat under the same key is the first");
    let sweep = SweepId::parse(&reply.id).unwrap();
    for restarted in [false, true] {
        if restarted {
            bench.again().await;
        }
        let shown = bench.sweep(sweep).await;
        assert_eq!(
            (shown.state.as_str(), shown.reason.as_str(), shown.version),
            ("Completed", "imported", reply.version)
        );
        let best = shown.best.unwrap();
        assert_eq!((best.trial_index, best.value, best.run_id.as_str()), (0, 0.25, ""));
        let counts = [("Completed".to_owned(), 12), ("EarlyStopped".to_owned(), 1), ("Failed".to_owned(), 1)];
        assert_eq!(shown.trial_counts, counts.into());
        let trials = bench.trials(sweep).await;
        let seen: Vec<_> = trials[..4].iter().map(|t| (t.state.as_str(), t.best_value, t.intervals)).collect();
        let expected =
            [("Completed", Some(0.25), 3), ("EarlyStopped", Some(0.9), 2), ("Failed", None, 0), ("Completed", None, 1)];
        assert_eq!(seen, expected);
        let parameters: Value = serde_json::from_str(&trials[0].parameters_json).unwrap();
        assert_eq!(parameters, json!({"lr": 0.01, "optimizer": "sgd", "momentum": 0.5, "extra": 4}));
        assert_eq!((trials[3].reason.as_str(), trials[2].reason.as_str()), ("no_objective", "run: imported"));
    }
    let found = bench.verify(sweep).await;
    assert_eq!((&found["imported"], &found["differences"]), (&json!(14), &json!([])), "{found}");
    assert_eq!(found["checked"], json!({"proposals": 0, "decisions": 0}));
    let why = wire::ExplainTrialRequest { workspace: "default".into(), sweep: "old".into(), index: 0, deleted: false };
    let why = bench.api().explain_trial(Request::new(why)).await.unwrap().into_inner();
    let told: Value = serde_json::from_str(&why.explanation_json).unwrap();
    assert_eq!((&told["proposal"]["algorithm"], why.run_id.as_str()), (&json!("imported"), ""));
    assert_eq!(told["trial"]["run_id"], Value::Null);
    assert_eq!(told["proposal"]["parameters"]["extra"]["u"], json!(0.5));
    let asked =
        wire::ParameterImportanceRequest { workspace: "default".into(), sweep: "old".into(), metric: String::new() };
    let importance = bench.api().parameter_importance(Request::new(asked)).await.unwrap().into_inner();
    assert_eq!((importance.trials, importance.parameters[0].parameter.as_str()), (11, "lr"));
    // It is known to others as a sweep, and its trials, which have no runs, are not.
    let kinds: Vec<String> = bench.facts().await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["SweepSubmitted", "SweepStateChanged", "SweepStateChanged"]);
    let taken = problem(import(&bench, &table(&good())).await);
    assert_eq!((taken.status, taken.code.as_str()), (409, "NameTaken"));
}

#[tokio::test]
async fn every_bad_row_is_named_at_once() {
    let bench = Bench::new().await;
    let sound = json!({"parameters": {"lr": 0.01}, "state": "completed", "value": 1});
    let trials = json!([
        sound,
        {"parameters": {"lr": 7, "depth": 3, "optimizer": "lion"}, "state": "completed", "value": 1},
        {"parameters": {"optimizer": "adam", "momentum": 0.5}, "state": "pruned"},
        {"parameters": {"extra": 3}, "state": "completed", "value": "high"},
        {"parameters": {}, "state": "completed"},
        {"parameters": {}, "state": "failed", "value": 1},
        {"state": "running"},
        {"state": "pruned", "intermediate": [{"step": 1, "value": 1}, {"step": 1, "value": 2}, {"step": 2}]},
    ]);
    let refused = problem(import(&bench, &table(&trials)).await);
    assert_eq!(refused.status, 422);
    let found: Vec<(String, String)> =
        refused.errors.iter().map(|error| (error.pointer.clone(), error.code.clone())).collect();
    let expected = [
        ("/trials/1/parameters/depth", "UnknownParameter"),
        ("/trials/1/parameters/lr", "OutOfSpace"),
        ("/trials/1/parameters/optimizer", "OutOfSpace"),
        ("/trials/2/parameters/momentum", "InactiveParameter"),
        ("/trials/3/parameters/extra", "OutOfSpace"),
        ("/trials/3/value", "BadMetricValue"),
        ("/trials/4", "Required"),
        ("/trials/5", "UnexpectedValue"),
        ("/trials/6/state", "BadState"),
        ("/trials/7/intermediate/1/step", "DuplicateValue"),
        ("/trials/7/intermediate/2/value", "Required"),
    ];
    assert_eq!(found, expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())));
    assert!(refused.errors[1].message.starts_with("row 1: parameters.lr: 7 is outside"), "{:?}", refused.errors[0]);
    // Of very many bad rows the first are told in full and the others by number.
    let bad = json!({"parameters": {"lr": 7}, "state": "completed", "value": 1});
    let many: Vec<&Value> = (0..1000).map(|at| if at == 0 { &sound } else { &bad }).collect();
    let refused = problem(import(&bench, &table(&json!(many))).await);
    assert_eq!((refused.status, refused.errors.len()), (422, 51));
    let rest = refused.errors.iter().find(|error| error.code == "BadRows").unwrap();
    assert!(rest.message.starts_with("949 more rows are wrong: 51, 52, "), "{}", rest.message);
    assert_eq!(problem(import(&bench, &table(&json!([]))).await).status, 422);
    let unknown = json!([{"state": "failed", "colour": 1}]);
    assert_eq!(problem(import(&bench, &table(&unknown)).await).status, 400);
}

#[tokio::test]
async fn a_better_intermediate_value_is_pointed_out() {
    let bench = Bench::new().await;
    let trials = json!([{"parameters": {"lr": 0.01}, "state": "completed", "value": 2,
        "intermediate": [{"step": 0, "value": 1}]}]);
    let reply = import(&bench, &table(&trials)).await.unwrap().into_inner();
    assert_eq!(reply.warnings[0].code, "BetterThanValue");
    let sweep = bench.sweep(SweepId::parse(&reply.id).unwrap()).await;
    assert_eq!(sweep.best.unwrap().value, 1.0);
}

#[tokio::test]
async fn twenty_thousand_trials_are_one_append() {
    let bench = Bench::new().await;
    let row = |at: u32| json!({"parameters": {"lr": 0.01, "extra": at % 5 * 2}, "state": "completed", "value": at});
    let trials: Vec<Value> = (0..20_001).map(row).collect();
    assert_eq!(problem(import(&bench, &table(&json!(trials))).await).status, 422);
    let reply = import(&bench, &table(&json!(trials[..20_000]))).await.unwrap().into_inner();
    assert_eq!(reply.version, 60_003);
    let sweep = bench.sweep(SweepId::parse(&reply.id).unwrap()).await;
    assert_eq!((sweep.proposals, sweep.best.unwrap().trial_index), (20_000, 0));
}

/// A document about loss, speed and memory, with more in it.
fn sought(extra: &Value) -> Value {
    let mut document = json!({
        "objectives": [{"goal": "minimize", "primary_metric": "loss"}, {"goal": "maximize", "primary_metric": "speed"}],
        "constraints": [{"metric": "memory", "op": "<=", "value": 1.5}],
        "search_space": {"x": {"type": "uniform", "min_value": 0, "max_value": 1}},
    });
    document.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    document
}

/// The second gains speed for its loss; the third loses in both; the others are not known to be feasible.
async fn with_an_imported_front(bench: &Bench) -> SweepId {
    let row = |x: f64, values: Value| json!({"parameters": {"x": x}, "state": "completed", "values": values});
    let trials = json!([
        row(0.1, json!({"loss": 1, "speed": 1, "memory": 1})),
        row(0.2, json!({"loss": 2, "speed": 2, "memory": 1})),
        row(0.3, json!({"loss": 3, "speed": 1.5, "memory": 1})),
        row(0.4, json!({"loss": 0.5, "speed": 3, "memory": 2})),
        row(0.5, json!({"loss": 0.5, "speed": 3})),
        {"parameters": {"x": 0.6}, "state": "pruned", "values": {"loss": 9}},
        {"parameters": {"x": 0.7}, "state": "failed"},
    ]);
    let old = import(bench, &sought(&json!({"name": "old", "trials": trials}))).await.unwrap().into_inner();
    SweepId::parse(&old.id).unwrap()
}

#[tokio::test]
async fn a_table_with_several_objectives_has_its_front_and_warms_another_sweep() {
    let mut bench = Bench::new().await;
    let old = with_an_imported_front(&bench).await;
    let front: Vec<u32> = bench.sweep(old).await.pareto.iter().map(|best| best.trial_index).collect();
    assert_eq!(front, [0, 1]);
    let limits = json!({"max_total_trials": 20, "max_concurrent_trials": 1, "max_failed_trials": 20});
    let sampling = json!({"type": "bayesian", "seed": 3});
    let warm = super::asking::external(sought(&json!({
        "name": "warm", "objective": null, "resume_from": ["old"], "early_termination": null,
        "sampling_algorithm": sampling, "limits": limits,
    })));
    let warm = super::warming::founded(&bench, &warm).await;
    for number in 0..8_u32 {
        if number == 4 {
            bench.again().await;
        }
        let ask = Request::new(super::asking::ask(warm, 1));
        let offered = bench.api().ask_trials(ask).await.unwrap().into_inner().trials.remove(0);
        let x = serde_json::from_str::<Value>(&offered.parameters_json).unwrap()["x"].as_f64().unwrap();
        assert!(![0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7].contains(&x), "what was inherited is tried again: {x}");
        let values = [("loss", x), ("speed", 1.0 - x), ("memory", x)];
        let told = wire::TellTrialRequest {
            value: None,
            r#final: true,
            values: values.map(|(name, value)| (name.to_owned(), value)).into(),
            ..super::asking::tell(warm, offered.index, 0.0)
        };
        bench.api().tell_trial(Request::new(told)).await.unwrap();
    }
    super::warming::is_verified(&bench, warm, 8).await;

    // One objective of them is enough for a sweep with one.
    let one = super::asking::external(json!({
        "name": "one", "objective": {"goal": "minimize", "primary_metric": "loss"}, "resume_from": ["old"],
        "search_space": sought(&json!({}))["search_space"], "sampling_algorithm": sampling, "limits": limits,
        "early_termination": null,
    }));
    super::warming::founded(&bench, &one).await;
}

#[tokio::test]
async fn values_of_several_metrics_are_checked() {
    let bench = Bench::new().await;
    let trials = json!([
        {"parameters": {"x": 0.1}, "state": "completed", "values": {"loss": 1}},
        {"parameters": {"x": 0.1}, "state": "completed", "value": 1, "values": {"speed": 1, "loss": 1}},
        {"parameters": {"x": 0.1}, "state": "completed", "values": {"speed": 1, "loss": 1, "size": 1}},
    ]);
    let refused = problem(import(&bench, &sought(&json!({"name": "bad", "trials": trials}))).await);
    let found: Vec<(&str, &str)> = refused.errors.iter().map(|e| (e.code.as_str(), e.pointer.as_str())).collect();
    let expected =
        [("Required", "/trials/0"), ("ExactlyOne", "/trials/1/values"), ("UnknownMetric", "/trials/2/values/size")];
    assert_eq!(found, expected, "{refused:?}");
}
