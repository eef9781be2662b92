//! What must hold when the killing is over.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Client, Home, Kind, Server, processes_of};

use super::{CLUSTER, STEPS, TRIALS};

/// How long the stream of a sweep's events may be silent before it counts as read to its end.
const SILENCE: Duration = Duration::from_secs(3);

/// Exactly the trials that were asked for, each with one end in the log.
pub fn every_trial_ended_once(client: &Client, sweep: &str) {
    let state = client.get(&format!("sweeps/{sweep}")).expect(200);
    assert_eq!(state["state"], "Completed", "{state}");
    assert_eq!(state["reason"], "max_total_trials", "{state}");
    let trials = client.list(&format!("sweeps/{sweep}/trials"), "trials");
    let indexes: Vec<_> = trials.iter().map(|trial| trial["index"].as_u64().unwrap_or(u64::MAX)).collect();
    assert_eq!(indexes, (0..TRIALS).collect::<Vec<_>>());
    for trial in &trials {
        let lost = trial["state"] == "Failed" && trial["reason"].as_str().is_some_and(|reason| reason.contains("lost"));
        assert!(trial["state"] == "Completed" || lost, "a trial that nobody stopped ended otherwise: {trial}");
    }
    let count = |wanted: fn(&Value) -> bool| trials.iter().filter(|trial| wanted(trial)).count();
    let again = count(|trial| trial["attempt"].as_u64() > Some(1));
    println!(
        "torture: {again} trials needed several attempts, {} were lost",
        count(|trial| trial["state"] == "Failed")
    );
    let mut ends: BTreeMap<u64, u32> = BTreeMap::new();
    let mut events = client.events(&format!("sweeps/{sweep}/events"));
    while let Some(event) = events.next_within(SILENCE) {
        if event.data["type"] == "TrialEnded" {
            *ends.entry(event.data["data"]["trial_index"].as_u64().unwrap_or(u64::MAX)).or_default() += 1;
        }
    }
    assert_eq!(ends, (0..TRIALS).map(|index| (index, 1)).collect(), "ends of each trial in the stream of events");
}

/// In each completed trial every step counts once, whatever attempt reported it.
pub fn every_step_is_there_once(client: &Client, sweep: &str) {
    for trial in client.list(&format!("sweeps/{sweep}/trials?state=Completed"), "trials") {
        let run = trial["run_id"].as_str().expect("a run's id");
        let points = client.list(&format!("runs/{run}/metrics/score"), "points");
        let counted = points.iter().filter(|point| point["superseded"] != true);
        let mut counted: Vec<_> = counted.map(|point| (point["step"].as_u64(), point["value"].as_f64())).collect();
        counted.sort_by_key(|(step, _)| *step);
        let index = trial["index"].as_u64().expect("an index");
        let wanted: Vec<_> = (0..STEPS).map(|step| (Some(step), Some((index * 100 + step) as f64))).collect();
        let attempts = client.get(&format!("runs/{run}")).expect(200)["attempts"].clone();
        assert_eq!(counted, wanted, "trial {index}: {points:?}\nattempts {attempts}");
        assert_eq!(trial["intervals"].as_u64(), Some(STEPS), "the clock of trial {index}: {trial}");
    }
}

/// Every suggestion is recomputed bit for bit, and the log keeps its laws.
pub fn the_log_agrees_with_its_recomputation(client: &Client, sweep: &str) {
    let verified = client.assert_verified(&format!("sweeps/{sweep}"));
    assert_eq!(verified["checked"]["proposals"], json!(TRIALS), "{verified}");
    let laws = verified["log"].as_object().expect("the laws of the log");
    assert!(!laws.is_empty() && laws.values().all(|law| law == "ok" || *law == json!(true)), "{verified}");
}

/// No agent, shim or job outlives its cluster, and nothing at all outlives the server.
pub fn nothing_is_left(home: &Home, client: &Client, server: &mut Server, limit: Duration) {
    let path = format!("clusters/{CLUSTER}");
    let answer = client.delete(&path);
    assert!([200, 202].contains(&answer.status), "{}", answer.text());
    let watch = runtime::Stopwatch::start();
    let mut seen = answer.json();
    loop {
        let version = seen["version"].as_i64().unwrap_or_default();
        let now = client.get(&format!("{path}?wait=1s&after_version={version}"));
        if now.status == 404 {
            break;
        }
        seen = now.expect(200);
        assert!(watch.elapsed() < limit, "the cluster is not gone: {seen}");
    }
    let left: Vec<_> = processes_of(home.path()).into_iter().filter(|one| one.kind != Kind::Server).collect();
    assert!(left.is_empty(), "left over after the cluster: {left:#?}");
    server.stop();
    let left = processes_of(home.path());
    assert!(left.is_empty(), "left over after the server: {left:#?}");
}
