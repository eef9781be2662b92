//! The golden vectors of the stopping policies, replayed both after and before each report is counted.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::Value as Json;
use trialog_tuning::{Decision, End, Goal, PolicySpec, Report, Trials, Verdict};

fn cases(file: &str) -> Json {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let folder = std::env::var_os("TRIALOG_VECTORS_DIR").map_or(default, PathBuf::from);
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("the vectors are JSON")
}

fn number(json: &Json) -> f64 {
    match json.as_str() {
        Some("NaN") => f64::NAN,
        Some("Infinity") => f64::INFINITY,
        Some("-Infinity") => f64::NEG_INFINITY,
        _ => json.as_f64().expect("a value is a number or one of three texts"),
    }
}

fn near(got: Option<f64>, want: &Json) -> bool {
    match (got, want) {
        (None, Json::Null) => true,
        (Some(got), want) if !want.is_null() => {
            let want = number(want);
            got == want || (got - want).abs() <= 1e-12 * got.abs().max(want.abs())
        }
        _ => false,
    }
}

fn agrees(verdict: &Verdict, want: &Json) -> bool {
    let (name, decision) = match verdict {
        Verdict::Skip { reason, interval } => {
            return want["verdict"] == "skip"
                && serde_json::to_value(reason).expect("a reason has a JSON form") == want["reason"]
                && interval.map(u64::from) == want["interval"].as_u64();
        }
        Verdict::Keep(decision) => ("keep", decision),
        Verdict::Stop(decision) => ("stop", decision),
        Verdict::Pause(decision) => ("pause", decision),
    };
    let Decision { interval, value, threshold, population, best, cut, rank, .. } = decision;
    want["verdict"] == name
        && want["interval"] == *interval
        && want["population"] == *population
        && near(Some(*value), &want["value"])
        && near(*threshold, &want["threshold"])
        && near(*best, &want["best"])
        && cut.map(u64::from) == want["cut"].as_u64()
        && rank.map(u64::from) == want["rank"].as_u64()
}

fn end_of(name: &str) -> End {
    match name {
        "Completed" => End::Completed,
        "Failed" => End::Failed,
        "Canceled" => End::Canceled,
        other => panic!("unknown end {other}"),
    }
}

#[test]
fn every_case_agrees() {
    let file = cases("policies.json");
    let (mut reports, mut wrong) = (0, Vec::new());
    for case in file["cases"].as_array().unwrap() {
        let goal: Goal = serde_json::from_value(case["goal"].clone()).unwrap();
        let policy: PolicySpec = serde_json::from_value(case["policy"].clone()).unwrap();
        assert!(policy.check(true).iter().all(|issue| issue.warning), "{case}");
        let mut trials = Trials::new(policy, goal);
        let mut indices: HashMap<&str, u32> = HashMap::new();
        let events = case["events"].as_array().unwrap();
        for (at, (event, want)) in events.iter().zip(case["expected"].as_array().unwrap()).enumerate() {
            let next = indices.len() as u32;
            let trial = *indices.entry(event["trial"].as_str().unwrap()).or_insert(next);
            if let Some(end) = event["end"].as_str() {
                trials.end(trial, end_of(end));
                continue;
            }
            reports += 1;
            let step = trials.next_step(trial);
            let report = Report { trial, attempt: 1, step, value: number(&event["value"]), position: at as u64 };
            let before = trials.preview(&report);
            trials.report(&report);
            let verdict = trials.judge(trial);
            assert_eq!(before, verdict, "{} event {at}", case["name"]);
            if !agrees(&verdict, want) {
                wrong.push(format!("{} event {at}: got {verdict:?}, expected {want}", case["name"]));
            }
            if let Verdict::Stop(decision) = &verdict {
                trials.stop(trial, decision.hint.is_some());
            }
            // A snapshot in the middle must not change anything.
            if at % 16 == 0 {
                let text = serde_json::to_string(&trials).unwrap();
                let restored: Trials = serde_json::from_str(&text).unwrap();
                assert_eq!(format!("{restored:?}"), format!("{trials:?}"));
                trials = restored;
            }
        }
    }
    assert!(reports > 0);
    assert!(wrong.is_empty(), "{} of {reports} differ:\n{}", wrong.len(), wrong.join("\n"));
}
