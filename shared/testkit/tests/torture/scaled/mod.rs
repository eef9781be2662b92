//! The scaled form: every service by itself, sweeps and models twice, on PostgreSQL and Kafka. Its processes, agents,
//! shims, the database and the broker are killed at random while trials run and clients call; a kill counts only while
//! a command, a fact or a trial is under way. Afterwards the verdict is that of one process, and every invariant is
//! looked for in the databases and topics themselves.
//!
//! TRIALOG_TORTURE_SCALED_KILLS: how many kills (20), in sweeps of forty trials each.

mod calls;
mod kills;
mod rows;
mod stage;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use runtime::MachineEntropy;
use serde_json::{Value, json};
use trialog_testkit::invariants::{Installation, broken};
use trialog_testkit::{Client, Random, Watchdog, await_that, check_everything_written, postgres};
use vocabulary::Entropy;

use super::{CLUSTER, Finish, document, number_from, put_the_cluster, verdict};
use calls::Calls;
use kills::Kills;
use stage::Stage;

/// Kills when nothing else is asked for.
const KILLS_DEFAULT: u64 = 20;
/// Kills while one sweep runs.
const KILLS_A_SWEEP: u64 = 40;
/// The first trial that waits for the end of the kills.
const GATED_FROM: u64 = 6;
/// Seconds that the test may take: a fixed part, and a part for each kill.
const LIMIT_SECONDS: u64 = 780;
const LIMIT_SECONDS_A_KILL: u64 = 11;
/// How long a sweep may take to begin, and to end after the last kill: a broker that was killed starts for a minute on
/// a busy machine, and what it carries waits for it.
const AFTER_LAST_KILL: Duration = Duration::from_secs(300);
/// How long followers may take to come to the ends of what they follow, and nodes to leave.
const QUIET_PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_scaled_sweep_survives_kills_at_random_and_every_invariant_holds() {
    if postgres().is_none() {
        return;
    }
    let seed = number_from("TRIALOG_TORTURE_SEED").unwrap_or_else(|| MachineEntropy::default().seed() >> 32);
    let wanted = number_from("TRIALOG_TORTURE_SCALED_KILLS").unwrap_or(KILLS_DEFAULT);
    eprintln!("scaled torture: TRIALOG_TORTURE_SEED={seed} TRIALOG_TORTURE_SCALED_KILLS={wanted}");
    let mut stage = Stage::start();
    let limit = Duration::from_secs(LIMIT_SECONDS + LIMIT_SECONDS_A_KILL * wanted);
    let _watchdog = Watchdog::new(limit, stage.places.home().path(), format!("the scaled torture with seed {seed}"));
    let client = stage.client();
    std::fs::create_dir(stage.places.home().join("said")).expect("a folder for what is written");
    put_the_cluster(&client);
    let calls = Calls::begin(&client);
    let (done, mut kills) = (AtomicBool::new(false), Kills::new(Random::new(seed)));
    let mut sweeps = Vec::new();
    std::thread::scope(|scope| {
        // Dropped also when the driver panics: the clients must not go on for ever.
        let finish = Finish(&done);
        calls.spawn(scope, &client, &done);
        while kills.count() < wanted {
            let until = wanted.min(kills.count() + KILLS_A_SWEEP);
            sweeps.push(one_sweep(&mut stage, &client, &calls, &mut kills, (sweeps.len(), until)));
        }
        drop(finish);
    });
    eprintln!("scaled torture: {kills}");
    assert!(kills.count() >= wanted);
    let mut found = Installation { samples: std::mem::take(&mut kills.samples), ..Installation::default() };
    for sweep in &sweeps {
        verdict::every_trial_ended_once(&client, sweep);
        verdict::every_step_is_there_once(&client, sweep);
        let verified = client.post(&format!("sweeps/{sweep}:verify"), &json!({})).expect(200);
        let differences = verified["differences"].as_array().cloned().unwrap_or_default();
        found.differences.extend(differences.iter().map(Value::to_string));
    }
    let lines = check_everything_written(&client, &stage.places.home().join("said"));
    eprintln!("scaled torture: {lines} lines were written by attempts, and all are in their logs and histories");
    calls.end(&client, &mut found);
    look_at_everything(stage, &client, found);
}

/// Kills while a sweep runs, until there were so many; its id.
fn one_sweep(
    stage: &mut Stage,
    client: &Client,
    calls: &Calls,
    kills: &mut Kills,
    (number, until): (usize, u64),
) -> String {
    let gate = stage.places.home().join("go");
    // Of the sweep before.
    let _ = std::fs::remove_file(&gate);
    let mut document = document(stage.places.home());
    document["name"] = json!(format!("torture-{number}"));
    // The first ones run as they can, the next ones wait for the gate: while there are kills there are trials.
    document["trial"]["environment_variables"]["GATED_FROM"] = json!(GATED_FROM.to_string());
    let sweep = client.post("sweeps", &document).expect(201)["id"].as_str().expect("an id").to_owned();
    // In the middle of trials, not before the first of them.
    let has_begun = |sweep: &Value| sweep["trial_counts"]["Completed"].as_u64() > Some(0);
    client.await_version(&format!("sweeps/{sweep}"), AFTER_LAST_KILL, has_begun);
    while kills.count() < until {
        kills.strike(stage, calls);
    }
    std::fs::write(&gate, "").expect("the gate opens");
    stage.revive();
    let ended = |sweep: &Value| ["Completed", "Failed", "Canceled"].iter().any(|state| sweep["state"] == *state);
    client.await_version(&format!("sweeps/{sweep}"), AFTER_LAST_KILL, ended);
    sweep
}

/// Ends everything in order, and looks for what must hold in what is left.
fn look_at_everything(mut stage: Stage, client: &Client, mut found: Installation) {
    assert!([200, 202].contains(&client.delete(&format!("clusters/{CLUSTER}")).status));
    await_that(QUIET_PATIENCE, || match client.get(&format!("clusters/{CLUSTER}?wait=1s")) {
        gone if gone.status == 404 => Ok(()),
        there => Err(format!("the cluster is not gone: {}", there.text())),
    });
    found.is_drained = true;
    await_that(QUIET_PATIENCE, || match rows::behind(stage.database.url()) {
        behind if behind.is_empty() => Ok(()),
        behind => Err(format!("followers are behind: {behind:?}")),
    });
    let shown = client.list("sweeps", "sweeps");
    stage.stop();
    found.logs = rows::logs(stage.database.url());
    found.topics = stage.broker.as_ref().map(rows::topics).unwrap_or_default();
    found.sweeps = rows::shown(&shown, &found.logs);
    found.secrets = stage.secrets();
    found.texts = stage.texts();
    found.texts.insert("the list of sweeps".to_owned(), json!(shown).to_string());
    let counts: Vec<_> = found.logs.iter().map(|(service, log)| format!("{service} {}", log.events.len())).collect();
    let records: usize = found.topics.values().map(Vec::len).sum();
    eprintln!("scaled torture: events: {}; {records} records of topics", counts.join(", "));
    assert!(found.logs.len() == 5 && found.sweeps.len() > 1 && found.samples.len() > 5, "nothing was read");
    let broken = broken(&found);
    assert!(broken.is_empty(), "what must always hold does not:\n{}", broken.join("\n"));
}
