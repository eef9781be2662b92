//! Snapshots that an earlier build wrote: as long as their number is the present one, this build makes the same bytes
//! of the same events.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tuning::PolicySpec;
use vocabulary::{Decider, StoredEvent, Warning};

use super::{recorded, spec};
use crate::sweep::*;

/// Set to write the present number's file anew, and the events, when it is known why they differ.
const WRITE: &str = "TRIALOG_WRITE_SNAPSHOTS";
/// Recorded histories, by number, that together leave few fields of the state at their defaults; the made ones have
/// those.
const HISTORIES: [u64; 6] = [0, 1, 2, 3, 4, 5];

/// A line of the file of events.
#[derive(Serialize, Deserialize)]
struct Line {
    sweep: usize,
    kind: String,
    schema: i16,
    data: String,
}

fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn present() -> String {
    format!("snapshots/sweep.{}", Sweep::SNAPSHOT.unwrap())
}

fn lines() -> String {
    let mut lines = String::new();
    let mut put = |sweep, kind: &str, schema, data| {
        let line = Line { sweep, kind: kind.to_owned(), schema, data };
        writeln!(lines, "{}", serde_json::to_string(&line).unwrap()).unwrap();
    };
    for (sweep, number) in HISTORIES.into_iter().enumerate() {
        for event in recorded::events_of(number) {
            put(sweep, event.kind(), event.schema(), event.encode().unwrap());
        }
    }
    let made = [modelled(), populating(), promoting()].into_iter().chain(of_other_policies());
    for (sweep, events) in (HISTORIES.len()..).zip(made) {
        for event in events {
            put(sweep, event.kind(), event.schema(), event.encode().unwrap());
        }
    }
    lines
}

/// An event of the stored files, as another one of its kind.
fn stored<T: DeserializeOwned>(name: &str, changes: Value) -> T {
    let text = std::fs::read_to_string(testdata(&format!("events/{name}.json"))).unwrap();
    let mut event: Value = serde_json::from_str(&text).unwrap();
    event.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    serde_json::from_value(event).unwrap()
}

fn submitted(changes: Value) -> SweepEvent {
    let submitted = stored::<SweepSubmitted>("SweepSubmitted.1", json!({}));
    let warnings = vec![Warning { code: "Odd".into(), pointer: "/limits".into(), message: "as it should".into() }];
    let parent = Some(Parent { sweep_id: submitted.sweep_id, position: 3 });
    SweepSubmitted { spec: spec(changes), warnings, parent, ..submitted }.into()
}

/// Proposed trials, from the first one on.
fn proposed(count: u32) -> impl Iterator<Item = SweepEvent> {
    let explained = json!({"by": "gp", "why": "as it should", "mean": 0.5, "interval": [0.25, 0.75]});
    let event = move |trial| json!({"trial": trial, "basis": {"imported": true}, "explained": explained});
    (0..count).map(move |trial| stored::<TrialProposed>("TrialProposed.1", event(trial)).into())
}

fn modelled() -> Vec<SweepEvent> {
    let limits = json!({"max_total_trials": 9, "max_concurrent_trials": 5, "max_retries": 2});
    let bandit = json!({"type": "bandit", "slack_amount": 0.1});
    let document = json!({"sampling_algorithm": {"type": "bayesian", "seed": 7}, "early_termination": bandit,
        "limits": limits, "constraints": [{"metric": "size", "op": "<=", "value": 0.5}],
        "description": "the first", "tags": {"team": "vision"}});
    let inherited = stored::<ObservationsInherited>("ObservationsInherited.1", json!({}));
    let trials = inherited.trials.into_iter().map(|trial| InheritedTrial { trial: trial.trial + 3, ..trial }).collect();
    let mut events = vec![submitted(document), ObservationsInherited { trials, ..inherited }.into()];
    events.extend(proposed(5));
    for (trial, state) in [(2, "Queued"), (3, "Preempted")] {
        let moved = json!({"trial": trial, "state": state});
        events.push(stored::<TrialStateChanged>("TrialStateChanged.1", moved).into());
    }
    events.push(stored::<TrialHeld>("TrialHeld.1", json!({"trial": 2})).into());
    events.push(stored::<TrialHeld>("TrialHeld.1", json!({"trial": 1})).into());
    let report = json!({"trial": 1, "others": [{"name": "size", "step": 0, "value": 0.25}]});
    events.push(stored::<ObservationRecorded>("ObservationRecorded.1", report).into());
    let ended = json!({"trial": 1, "missing_outputs": ["model"]});
    events.push(stored::<TrialEnded>("TrialEnded.1", ended).into());
    events.push(stored::<ModelFitted>("ModelFitted.1", json!({})).into());
    events.push(stored::<SweepStalled>("SweepStalled.1", json!({})).into());
    let mut stop = stored::<TrialStopRequested>("TrialStopRequested.1", json!({"trial": 4}));
    stop.decision.as_mut().unwrap().hint = Some("as it should".into());
    events.push(stop.into());
    events
}

fn populating() -> Vec<SweepEvent> {
    let policy = json!({"type": "pbt", "perturbation_interval": 1, "quantile": 0.5});
    let mut events = vec![submitted(json!({"early_termination": policy, "trial": checkpoints()}))];
    events.extend(proposed(2));
    events.push(stored::<TrialStopRequested>("TrialStopRequested.1", json!({"trial": 1})).into());
    let end = json!({"trial": 1, "end": TrialEnd::EarlyStopped { decision: "s@4".into() }});
    events.push(stored::<TrialEnded>("TrialEnded.1", end).into());
    events.push(stored::<SweepArchived>("SweepArchived.1", json!({})).into());
    events.push(stored::<SweepDeleted>("SweepDeleted.1", json!({})).into());
    events
}

fn promoting() -> Vec<SweepEvent> {
    let policy = json!({"type": "asha", "reduction_factor": 2, "max_resource": 4, "variant": "promotion"});
    let mut events = vec![submitted(json!({"early_termination": policy, "trial": checkpoints()}))];
    events.extend(proposed(2));
    events.push(stored::<TrialPaused>("TrialPaused.1", json!({"trial": 0})).into());
    events.push(stored::<TrialPromoted>("TrialPromoted.1", json!({"trial": 0})).into());
    events.push(stored::<TrialFinishing>("TrialFinishing.1", json!({"trial": 1})).into());
    events.push(stored::<TrialPaused>("TrialPaused.1", json!({"trial": 1})).into());
    events
}

/// Under the policies, and with the settings of policies, that the others do not have.
fn of_other_policies() -> Vec<Vec<SweepEvent>> {
    let recorded = ["median_stopping", "hyperband"].map(|policy| {
        let is_of = |events: &Vec<SweepEvent>| {
            let Some(SweepEvent::SweepSubmitted(submitted)) = events.first() else { return false };
            name(&submitted.spec.policy) == policy
        };
        (0..40).map(recorded::events_of).find(is_of).unwrap()
    });
    let bandit = json!({"type": "bandit", "slack_factor": 0.1, "delay_evaluation": 2});
    let truncation = json!({"type": "truncation_selection", "truncation_percentage": 20,
        "exclude_finished_jobs": true, "delay_evaluation": 2});
    let made = [bandit, truncation].map(|policy| vec![submitted(json!({"early_termination": policy}))]);
    recorded.into_iter().chain(made).collect()
}

fn checkpoints() -> Value {
    json!({"command": ["python", "train.py"], "checkpoint": true})
}

/// The states that the events lead to.
fn states() -> Vec<Sweep> {
    let text = std::fs::read_to_string(testdata("snapshots/events.jsonl")).unwrap();
    let mut states: Vec<Sweep> = Vec::new();
    for line in text.lines() {
        let Line { sweep, kind, schema, data } = serde_json::from_str(line).unwrap();
        states.resize_with(states.len().max(sweep + 1), Sweep::default);
        states[sweep].evolve(&SweepEvent::decode(&kind, schema, &data).unwrap());
    }
    states
}

/// A snapshot after another, each behind its length.
fn file(states: &[Sweep]) -> Vec<u8> {
    let snapshots = states.iter().map(|state| state.snapshot().unwrap());
    snapshots.flat_map(|bytes| [(bytes.len() as u64).to_le_bytes().to_vec(), bytes].concat()).collect()
}

fn snapshots_in(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<8>() {
        let (snapshot, rest) = rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
        found.push(snapshot);
        bytes = rest;
    }
    found
}

#[test]
fn the_same_events_make_the_same_snapshot_as_long_as_its_number_is_the_same() {
    // A build that reads the snapshot of another as something else shows and decides another sweep than the one that
    // was, and nothing would say so: the events are not looked at any more.
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(testdata("snapshots/events.jsonl"), lines()).unwrap();
        std::fs::write(testdata(&present()), file(&states())).unwrap();
    }
    let states = states();
    let known = std::fs::read(testdata(&present())).expect("a raised number wants its file: see WRITE");
    let known = snapshots_in(&known);
    assert_eq!(known.len(), states.len());
    for (number, (known, state)) in known.into_iter().zip(&states).enumerate() {
        let restored = Sweep::restore(known).expect("what this number says is read");
        assert_eq!(format!("{:#?}", ordered(&restored)), format!("{:#?}", ordered(state)), "sweep {number}");
        assert!(known == state.snapshot().unwrap(), "sweep {number} has other bytes: raise the number");
    }
}

/// A state for its text: its one set in order.
fn ordered(state: &Sweep) -> (Vec<u128>, Sweep) {
    let mut taken: Vec<_> = state.taken.iter().copied().collect();
    taken.sort_unstable();
    (taken, Sweep { taken: std::sync::Arc::default(), ..state.clone() })
}

#[test]
fn no_field_of_the_state_is_left_out_of_the_known_snapshots() {
    // What is at its default everywhere could go, or get another meaning, and no byte would change.
    let mut is_said: BTreeMap<String, bool> = BTreeMap::new();
    let mut policies = BTreeSet::new();
    for state in states() {
        let (taken, state) = ordered(&state);
        *is_said.entry("/taken".to_owned()).or_default() |= !taken.is_empty();
        let mut value = serde_json::to_value(&state).unwrap();
        value.as_object_mut().unwrap().remove("taken");
        // What was asked for is the document's own, and has its own files.
        if let Some(submitted) = value["submitted"].as_object_mut() {
            submitted.remove("spec");
        }
        let policy = name(state.curves.policy());
        policies.insert(policy);
        // Each of them has fields of its own.
        let set = value["curves"].as_object_mut().unwrap().remove("policy").unwrap();
        walk(&format!("/curves/policy/{policy}"), &set, &mut is_said);
        walk("", &value, &mut is_said);
    }
    assert_eq!(policies, BTreeSet::from(POLICIES), "the policies of the histories");
    let silent: Vec<_> = is_said.iter().filter(|(_, is_said)| !**is_said).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "{silent:?}");
}

/// Every policy that there is.
const POLICIES: [&str; 8] =
    ["none", "bandit", "median_stopping", "truncation_selection", "asha", "hyperband", "learning_curve", "pbt"];

/// One that is new does not compile here, and goes into the list above and into the histories.
fn name(policy: &PolicySpec) -> &'static str {
    let place = match policy {
        PolicySpec::None => 0,
        PolicySpec::Bandit { .. } => 1,
        PolicySpec::MedianStopping { .. } => 2,
        PolicySpec::TruncationSelection { .. } => 3,
        PolicySpec::Asha { .. } => 4,
        PolicySpec::Hyperband { .. } => 5,
        PolicySpec::LearningCurve { .. } => 6,
        PolicySpec::Pbt { .. } => 7,
    };
    POLICIES[place]
}

/// Notes of each place in a value whether it says anything; all members of a list are one place.
fn walk(path: &str, value: &Value, is_said: &mut BTreeMap<String, bool>) {
    let says = match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(members) => {
            members.iter().for_each(|member| walk(&format!("{path}/-"), member, is_said));
            !members.is_empty()
        }
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| walk(&format!("{path}/{name}"), member, is_said));
            !members.is_empty()
        }
    };
    *is_said.entry(path.to_owned()).or_default() |= says;
}

#[test]
fn a_snapshot_of_another_number_is_read_or_left() {
    let files = std::fs::read_dir(testdata("snapshots")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let numbers: Vec<i16> = names.filter_map(|name| name.strip_prefix("sweep.")?.parse().ok()).collect();
    let present = Sweep::SNAPSHOT.unwrap();
    assert!(numbers.contains(&present) && numbers.iter().all(|number| *number <= present), "{numbers:?}");
    for number in numbers {
        for snapshot in snapshots_in(&std::fs::read(testdata(&format!("snapshots/sweep.{number}"))).unwrap()) {
            // The log hands a state only what has its number; and bytes that are cut off are no state.
            assert!(Sweep::restore(&snapshot[..snapshot.len() / 2]).is_none(), "half of one of number {number}");
            assert!(Sweep::restore(snapshot).is_some() || number < present, "number {number}");
        }
    }
}
