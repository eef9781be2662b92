//! Each check is green on a sound installation and goes red on the violation that it is there for.

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

fn event(position: i64, stream: &str, version: i64, kind: &str, data: Value) -> eventlog::RecordedEvent {
    eventlog::RecordedEvent {
        position,
        stream: stream.to_owned(),
        version,
        event_id: Uuid::from_u128(position as u128),
        kind: kind.to_owned(),
        schema: 1,
        command_id: Uuid::from_u128(100 + position as u128),
        recorded_at_us: position,
        data: data.to_string(),
        meta: "{}".to_owned(),
    }
}

fn log(source: &str, kinds: &[(&str, &str, Value)]) -> Log {
    let mut log = Log { source: source.to_owned(), head: kinds.len() as i64, ..Log::default() };
    for ((stream, kind, data), position) in kinds.iter().zip(1..) {
        let version = 1 + log.events.iter().filter(|event| event.stream == *stream).count() as i64;
        log.events.push(event(position, stream, version, kind, data.clone()));
        let command_id = Uuid::from_u128(100 + position as u128).to_string();
        log.commands.push(CommandRow { command_id, first_position: position, last_position: position });
    }
    log
}

fn record(log: &Log, offset: i64, position: i64, previous: Option<i64>) -> Carried {
    let event = &log.events[position as usize - 1];
    let mut headers = vec![
        ("position", position.to_string()),
        ("event-id", event.event_id.to_string()),
        ("stream", event.stream.clone()),
        ("source", log.source.clone()),
    ];
    headers.extend(previous.map(|previous| ("previous", previous.to_string())));
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Carried { partition: 0, offset, headers }
}

fn sound() -> Installation {
    let limits = json!({"max_total_trials": 2, "max_concurrent_trials": 1});
    let spec = json!({"objective": {"goal": "maximize"}, "limits": limits});
    let draws = |x: Value| json!({"draws": [{"name": "x", "value": x}]});
    let observed = |trial: u64, value: f64| json!({"trial": trial, "points": [{"step": 0, "value": value}]});
    let end = |trial: u64| json!({"trial": trial, "end": {"state": "Completed"}});
    let stop = json!({"trial": 1, "by": "policy", "decision": {"value": 0.5, "threshold": 0.8}});
    let sweeps = log(
        "sweeps@1",
        &[
            ("s", "SweepSubmitted", json!({"spec": spec})),
            ("s", "TrialProposed", draws(json!(0.5))),
            ("s", "ObservationRecorded", observed(0, 0.9)),
            ("s", "TrialEnded", end(0)),
            ("s", "TrialProposed", draws(json!(0.7))),
            ("s", "ObservationRecorded", observed(1, 0.5)),
            ("s", "TrialStopRequested", stop),
            ("s", "TrialEnded", end(1)),
        ],
    );
    let placed = |attempt: u64| json!({"job": {"run_id": "r"}, "attempt": attempt});
    let node = || json!({"node_id": "n"});
    let mut compute = log(
        "compute@1",
        &[
            ("c", "NodeRequested", node()),
            ("c", "NodeReady", node()),
            ("j", "JobPlaced", placed(1)),
            ("j", "JobRequeued", placed(1)),
            ("j", "JobPlaced", placed(2)),
            ("j", "JobEnded", placed(2)),
            ("c", "NodeReleased", node()),
            ("e", "TrafficSet", json!({"traffic": {"a": 90, "b": 10}})),
        ],
    );
    let cursor =
        |position| CursorRow { projection: "p".to_owned(), source: "sweeps@1".to_owned(), partition: 0, position };
    compute.cursors.push(cursor(8));
    let mut runs = log("runs@1", &[("r", "RunCreated", json!({"name": "mine"}))]);
    runs.writers.insert(("r".to_owned(), "w".to_owned()), 2);
    let topic = [(0, 2, None), (1, 4, Some(2)), (2, 2, None), (3, 4, Some(2)), (4, 8, Some(4))];
    let topic = topic.map(|(offset, position, previous)| record(&sweeps, offset, position, previous));
    let shown = [("Completed".to_owned(), 2), ("Failed".to_owned(), 0)].into();
    Installation {
        topics: [("sweeps".to_owned(), topic.to_vec())].into(),
        acknowledged: vec![Acknowledged { service: "runs".to_owned(), position: 1, content: "mine".to_owned() }],
        reads: vec![ReadBack { wanted: 3, seen: 4 }],
        samples: vec![Sample { service: "compute".to_owned(), cursors: vec![cursor(3)] }],
        sweeps: vec![ShownSweep { stream: "s".to_owned(), proposals: 2, ended: shown }],
        differences: Vec::new(),
        acknowledged_points: vec![(1, 7), (2, 8)],
        stored_points: vec![(2, 8), (1, 7)],
        batches: vec![("r".to_owned(), "w".to_owned(), 2)],
        is_drained: true,
        secrets: vec!["tlg_secret".to_owned()],
        texts: [("runs.log".to_owned(), "ready".to_owned())].into(),
        logs: [("sweeps", sweeps), ("compute", compute), ("runs", runs)]
            .map(|(name, log)| (name.to_owned(), log))
            .into(),
    }
}

fn of<'a>(installation: &'a mut Installation, service: &str) -> &'a mut Log {
    installation.logs.get_mut(service).expect("it has a log")
}

/// Puts other content into an event.
fn put(installation: &mut Installation, service: &str, position: usize, data: Value) {
    of(installation, service).events[position - 1].data = data.to_string();
}

type Plant = fn(&mut Installation);

/// What is planted, and the numbers of the checks that must see it, and of no others.
const PLANTED: &[(&str, &[&str], Plant)] = &[
    ("an acknowledged change is not there", &["I1 L1"], |all| all.acknowledged[0].position = 9),
    ("another one is in its place", &["I1 L1"], |all| all.acknowledged[0].content = "yours".to_owned()),
    ("a hole", &["I1 L1", "I2 L2", "I4 L6"], |all| of(all, "runs").events[0].position = 2),
    ("events beyond the head", &["I2 L2"], |all| of(all, "runs").head = 0),
    ("a version is left out", &["I2 L3"], |all| of(all, "sweeps").events[7].version = 9),
    ("a version is there twice", &["I2 L3", "I3 L5"], |all| of(all, "sweeps").events[7].version = 7),
    ("a torn append", &["L4", "I4 L6"], |all| {
        let events = &mut of(all, "sweeps").events;
        events[7].command_id = events[0].command_id;
    }),
    ("two results of a command", &["I4 L6"], |all| {
        let row = of(all, "runs").commands[0].clone();
        of(all, "runs").commands.push(row);
    }),
    ("a result of nothing", &["I4 L6"], |all| of(all, "runs").commands[0].last_position = 7),
    ("events without a result", &["I4 L6"], |all| of(all, "runs").commands.clear()),
    ("a record that was never stored", &["L7"], |all| {
        all.topics.get_mut("sweeps").expect("it has one")[4].headers.insert("position".to_owned(), "99".to_owned());
    }),
    ("a record of another event", &["L7"], |all| {
        all.topics.get_mut("sweeps").expect("it has one")[4].headers.insert("event-id".to_owned(), "x".to_owned());
    }),
    ("a record is left out", &["L7"], |all| {
        all.topics.get_mut("sweeps").expect("it has one").retain(|record| record.offset != 1 && record.offset != 3);
    }),
    ("a view is behind", &["I5 L8"], |all| all.sweeps[0].proposals = 1),
    ("a view counts twice", &["I5 L8"], |all| {
        all.sweeps[0].ended.insert("Completed".to_owned(), 3);
    }),
    ("a cursor beyond its source", &["L9"], |all| of(all, "compute").cursors[0].position = 9),
    ("a cursor goes back", &["L9"], |all| of(all, "compute").cursors[0].position = 2),
    ("a node without an intent", &["I11 L10"], |all| put(all, "compute", 1, json!({"node_id": "other"}))),
    ("a node that stays", &["I11 L10"], |all| put(all, "compute", 7, json!({"node_id": "other"}))),
    ("a stale read", &["L11"], |all| all.reads[0].seen = 2),
    ("a lost batch", &["L12"], |all| {
        of(all, "runs").writers.insert(("r".to_owned(), "w".to_owned()), 1);
    }),
    ("a lost point", &["L12"], |all| {
        all.stored_points.pop();
    }),
    ("a doubled point", &["L12"], |all| all.stored_points.push((2, 8))),
    ("other bits", &["L12"], |all| all.stored_points[0].1 = 9),
    ("a time that goes back", &["L13"], |all| of(all, "sweeps").events[5].recorded_at_us = 1),
    ("two live attempts", &["I6"], |all| put(all, "compute", 4, json!({"job": {"run_id": "another"}}))),
    ("an attempt twice", &["I6"], |all| put(all, "compute", 5, json!({"job": {"run_id": "r"}, "attempt": 1}))),
    ("a proposal beyond the concurrency", &["I5 L8", "I7"], |all| {
        of(all, "sweeps").events[3].kind = "TrialHeld".to_owned();
    }),
    ("a proposal beyond the total", &["I7"], |all| {
        let limits = json!({"max_total_trials": 1, "max_concurrent_trials": 1});
        put(all, "sweeps", 1, json!({"spec": {"objective": {"goal": "maximize"}, "limits": limits}}));
    }),
    ("the leader is stopped", &["I8"], |all| put(all, "sweeps", 7, json!({"trial": 0, "by": "policy"}))),
    ("another suggestion", &["I9"], |all| all.differences.push("trial 3".to_owned())),
    ("NaN is proposed", &["I10"], |all| put(all, "sweeps", 5, json!({"draws": [{"value": "NaN"}]}))),
    ("NaN is compared", &["I10"], |all| {
        put(all, "sweeps", 7, json!({"trial": 1, "by": "policy", "decision": {"value": "NaN"}}));
    }),
    ("shares that sum to 99", &["I12"], |all| put(all, "compute", 8, json!({"traffic": {"a": 90, "b": 9}}))),
    ("a secret in a log", &["I13"], |all| {
        all.texts.insert("runs.log".to_owned(), "Bearer tlg_secret".to_owned());
    }),
    ("a secret in an event", &["I13"], |all| put(all, "runs", 1, json!({"name": "mine", "token": "tlg_secret"}))),
];

#[test]
fn every_check_is_green_on_what_is_sound_and_red_on_what_is_planted() {
    assert_eq!(broken(&sound()), [""; 0]);
    let (mut red, mut wrong) = (std::collections::BTreeSet::new(), Vec::new());
    for (what, numbers, plant) in PLANTED {
        let mut installation = sound();
        plant(&mut installation);
        let found = broken(&installation);
        let found_numbers: Vec<&str> = found.iter().filter_map(|why| Some(why.split_once(':')?.0)).collect();
        if found_numbers != *numbers {
            wrong.push(format!("{what}: {numbers:?} must see it, and it is seen as {found:#?}"));
        }
        red.extend(found_numbers.iter().map(|numbers| (*numbers).to_owned()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let never: Vec<_> = CHECKS.iter().filter(|(numbers, _)| !red.contains(*numbers)).collect();
    assert!(never.is_empty(), "no violation is planted for {never:?}");
}
