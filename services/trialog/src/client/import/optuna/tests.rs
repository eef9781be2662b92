//! Studies that Optuna itself has made, see `testdata/make_optuna_studies.py`.

use std::path::PathBuf;

use serde_json::{Value, json};
use sweeps::document::read_import;

use super::*;

fn file(version: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/optuna{version}.db"))
}

async fn study(version: u32, name: &str) -> Study {
    read(&file(version), Some(name), &named(&["loss"])).await.unwrap()
}

fn named(metrics: &[&str]) -> Vec<String> {
    metrics.iter().map(|metric| (*metric).to_owned()).collect()
}

fn body(table: &Node) -> Vec<u8> {
    let crate::client::http::Body::Text(_, bytes) = crate::client::document::json_body(table) else { panic!("a text") };
    bytes
}

#[tokio::test]
async fn studies_of_both_versions_are_taken_whole() {
    for version in [4, 5] {
        let down = study(version, "down").await;
        let (spec, trials, _) =
            read_import(&body(&down.table), documents::Format::Json, &sweeps::ServerLimits::default()).unwrap();
        assert_eq!(trials.len(), 30);
        let states: Vec<usize> = ["completed", "pruned", "failed"]
            .map(|state| {
                let table = down.table.to_json();
                table["trials"].as_array().unwrap().iter().filter(|trial| trial["state"] == state).count()
            })
            .to_vec();
        assert_eq!(states, [24, 3, 3]);
        assert_eq!(
            down.notes,
            [
                "parameter \"momentum in %\" is called momentum_in__",
                "1 trials have not ended and are left out",
                "parameter \"mixed\": its choice null is written as the text \"null\""
            ]
        );
        let space = down.table.to_json()["search_space"].clone();
        assert_eq!(space["momentum_in__"]["when"], json!({"optimizer": ["sgd"]}));
        assert_eq!(space.as_object().unwrap().values().filter(|one| one.get("when").is_some()).count(), 1);
        assert_eq!(space["units"], json!({"type": "int_uniform", "min_value": 16, "max_value": 128, "step": 16}));
        assert_eq!(space["batch"], json!({"type": "q_log_uniform_values", "min_value": 2, "max_value": 300, "q": 1}));
        let kinds: Vec<(&str, &str)> =
            spec.space.parameters.iter().map(|p| (p.name.as_str(), p.distribution.kind())).collect();
        let expected = [
            ("lr", "log_uniform_values"),
            ("dropout", "quniform"),
            ("shift", "choice"),
            ("units", "int_uniform"),
            ("depth", "int_uniform"),
            ("batch", "q_log_uniform_values"),
            ("optimizer", "choice"),
            ("mixed", "choice"),
            ("momentum_in__", "uniform"),
        ];
        for expected in expected {
            assert!(kinds.contains(&expected), "{expected:?} is not in {kinds:?}");
        }
        // The same best trial as Optuna's own, among the values; see the note in the script.
        let table = down.table.to_json();
        let best =
            table["trials"].as_array().unwrap().iter().enumerate().filter(|(_, trial)| trial["state"] == "completed");
        let best = best.filter_map(|(at, trial)| Some((at, trial["values"]["loss"].as_f64()?)));
        assert_eq!(best.min_by(|a, b| a.1.total_cmp(&b.1)), Some((10, 0.589_624_257_366_611_4)));
        // A parameter that only some trials have is absent in the others.
        let with = trials.iter().filter(|trial| trial.draws.iter().any(|draw| draw.name == "momentum_in__")).count();
        let sgd = |trial: &&Value| trial["parameters"]["optimizer"] == "sgd";
        assert_eq!(with, table["trials"].as_array().unwrap().iter().filter(sgd).count());
        let infinite = &table["trials"][9];
        assert_eq!(
            (&infinite["values"]["loss"], &infinite["intermediate"][3]["value"]),
            (&json!("Infinity"), &json!("NaN"))
        );
    }
}

#[tokio::test]
async fn both_versions_say_the_same_and_maximise() {
    assert_eq!(study(4, "down").await.table, study(5, "down").await.table);
    let up = study(5, "up").await.table.to_json();
    assert_eq!(up["objectives"], json!([{"goal": "maximize", "primary_metric": "loss"}]));
    assert_eq!(up["search_space"]["x"], json!({"type": "uniform", "min_value": -1.0, "max_value": 1.0}));
}

#[tokio::test]
async fn what_cannot_be_imported_is_said() {
    let told = |answer: Result<Study, Failure>| match answer {
        Err(Failure::Usage(told)) => told,
        _ => panic!("it was taken"),
    };
    assert!(told(read(&file(4), None, &[]).await).ends_with("say which --study; there are down, up, pareto"));
    assert!(told(read(&file(4), Some("left"), &[]).await).contains("no study \"left\""));
    let one = named(&["loss"]);
    assert!(told(read(&file(4), Some("pareto"), &one).await).contains("has 2 objectives, and --metric names 1"));
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/make_optuna_studies.py");
    assert!(told(read(&script, None, &[]).await).contains("not a SQLite file"));
}

#[tokio::test]
async fn a_study_with_two_objectives_is_taken_with_both() {
    for version in [4, 5] {
        for (given, names) in [(named(&["loss", "speed"]), ["loss", "speed"]), (Vec::new(), ["value_0", "value_1"])] {
            let read = read(&file(version), Some("pareto"), &given).await.unwrap();
            let (spec, trials, _) =
                read_import(&body(&read.table), documents::Format::Json, &sweeps::ServerLimits::default()).unwrap();
            assert_eq!(spec.objectives().map(|o| o.primary_metric.as_str()).collect::<Vec<_>>(), names);
            let both = trials.iter().filter(|trial| trial.points.len() == 1 && trial.others.len() == 1).count();
            assert!(both > 0 && both == trials.len(), "{both} of {}", trials.len());
        }
    }
}

#[test]
fn ranges_map_to_the_distributions_of_a_sweep() {
    let kind = |json: &str| {
        let parameter = Parameter { name: "x".to_owned(), range: range(json).unwrap() };
        distribution(&parameter, &mut Vec::new()).0.to_json()
    };
    let of = |name: &str, attributes: &str| kind(&format!(r#"{{"name": "{name}", "attributes": {{{attributes}}}}}"#));
    assert_eq!(
        of("IntDistribution", r#""low": 3, "high": 9, "step": 2, "log": false"#),
        json!({"type": "int_uniform", "min_value": 3, "max_value": 9, "step": 2})
    );
    assert_eq!(
        of("DiscreteUniformDistribution", r#""low": 0.2, "high": 0.8, "q": 0.2"#),
        json!({"type": "quniform", "min_value": 0.2, "max_value": 0.8, "q": 0.2})
    );
    assert_eq!(of("LogUniformDistribution", r#""low": 0.1, "high": 1"#)["type"], "log_uniform_values");
    assert_eq!(of("FloatDistribution", r#""low": 2, "high": 2, "step": null, "log": false"#)["values"], json!([2.0]));
    let mixed = of("CategoricalDistribution", r#""choices": [null, 1, "one", true]"#);
    assert_eq!(mixed["values"], json!(["null", 1.0, "one", true]));
    let doubled = of("CategoricalDistribution", r#""choices": ["null", null, 1, 1.0, [1, 2], "1"]"#);
    assert_eq!(doubled["values"], json!(["null", "null_2", 1.0, "1.0", "[1,2]", "1"]));
    assert_eq!(of("CategoricalDistribution", r#""choices": [1, 2.5]"#)["values"], json!([1.0, 2.5]));
    let narrow = range(r#"{"name": "IntDistribution", "attributes": {"low": 1, "high": 4, "step": 1}}"#).unwrap();
    let wide = range(r#"{"name": "IntDistribution", "attributes": {"low": 2, "high": 8, "step": 2}}"#).unwrap();
    let both = Range::Numbers { low: 1.0, high: 8.0, step: Some(1.0), log: false, whole: true };
    assert_eq!(joined(&narrow, &wide), Some(both));
    let odd = range(r#"{"name": "IntDistribution", "attributes": {"low": 3, "high": 9, "step": 2}}"#).unwrap();
    let shifted = Range::Numbers { low: 2.0, high: 9.0, step: Some(1.0), log: false, whole: true };
    assert_eq!(joined(&wide, &odd), Some(shifted), "values on other steps keep their own");
}
