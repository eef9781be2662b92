//! Rungs as `why` shows them, and other policies on the recorded curves.

use contracts::sweeps as wire;
use serde_json::{Value, json};
use tonic::Request;

use super::{Bench, document, problem};

pub(super) async fn what_if(bench: &Bench, sweep: &str, question: Value) -> Result<Value, tonic::Status> {
    let request = wire::WhatIfRequest {
        workspace: "default".into(),
        sweep: sweep.to_owned(),
        document: question.to_string().into_bytes(),
        format: "json".into(),
    };
    let reply = bench.api().what_if(Request::new(request)).await?;
    Ok(serde_json::from_str(&reply.into_inner().what_if_json).unwrap())
}

#[tokio::test]
async fn a_sweep_with_rungs_says_why_and_what_if() {
    let mut bench = Bench::new().await;
    let asha = json!({"type": "asha", "reduction_factor": 2, "max_resource": 3});
    let sweep = bench.submit(&document(json!({"early_termination": asha}))).await;
    bench.fill(sweep).await;
    for (trial, step, value) in [(0, 0, 0.9), (0, 1, 0.95), (1, 0, 0.5)] {
        bench.reports(sweep, trial, step, value).await;
    }
    bench.ends(sweep, 1, "canceled").await;
    bench.ends(sweep, 0, "completed").await;
    let request =
        wire::ExplainTrialRequest { workspace: "default".into(), sweep: sweep.to_string(), index: 1, deleted: false };
    let why = bench.api().explain_trial(Request::new(request)).await.unwrap().into_inner();
    let why: Value = serde_json::from_str(&why.explanation_json).unwrap();
    assert_eq!((&why["decisions"][0]["verdict"], &why["decisions"][0]["kept"]), (&json!("stop"), &json!(1)), "{why}");
    assert_eq!((&why["rungs"][0]["entries"], &why["rungs"][0]["place"]), (&json!(2), &json!(1)));
    assert_eq!(why["rungs"][0]["best"][0], json!({"trial": 0, "value": 0.9, "passed": true}));
    assert_eq!((&why["rungs"][1]["interval"], &why["rungs"][1]["place"]), (&json!(2), &Value::Null));
    let policies = json!([{"type": "none"}, asha]);
    let answer = what_if(&bench, &sweep.to_string(), json!({ "policies": policies })).await.unwrap();
    let (none, asha) = (&answer["policies"][0], &answer["policies"][1]);
    // Without a policy the second trial would have gone on, nobody knows how far.
    assert_eq!(
        (&none["unknown"], &none["reports_used"], &none["reports_saved_at_least"]),
        (&json!(1), &json!(3), &json!(-1))
    );
    assert_eq!((&asha["stopped"], &asha["unknown"], &asha["winner_survives"]), (&json!(1), &json!(0), &json!(true)));
}

#[tokio::test]
async fn a_question_is_checked_like_a_document() {
    let bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({}))).await.to_string();
    let codes = async |question: Value| {
        let problem = problem(what_if(&bench, &sweep, question).await);
        let errors = problem.errors.into_iter().map(|error| (error.code, error.pointer));
        (problem.status, errors.collect::<Vec<_>>())
    };
    let found = |code: &str, pointer: &str| (code.to_owned(), pointer.to_owned());
    assert_eq!(codes(json!({})).await, (422, vec![found("Required", "/policies")]));
    let promotion = json!({"type": "asha", "max_resource": 9, "variant": "promotion"});
    let wrong = json!({"policies": [{"type": "asha"}, promotion], "workers": 0});
    let expected = vec![
        found("Required", "/policies/0/max_resource"),
        found("NotReplayable", "/policies/1"),
        found("OutOfRange", "/workers"),
    ];
    assert_eq!(codes(wrong).await, (422, expected));
    let bred = json!({"policies": [{"type": "pbt", "perturbation_interval": 2}]});
    assert_eq!(codes(bred).await, (422, vec![found("NotReplayable", "/policies/0")]));
    assert_eq!(
        codes(json!({"policies": ["none"], "max_reports": 5})).await,
        (422, vec![found("Required", "/max_reports")])
    );
    assert_eq!(problem(what_if(&bench, "nowhere", json!({"policies": ["none"]})).await).status, 404);
}
