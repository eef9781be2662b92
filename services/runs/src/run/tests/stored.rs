//! Every event type that was ever written is still read.

use std::path::Path;

use vocabulary::StoredEvent;

use super::*;
use crate::experiment::ExperimentEvent;

const KINDS: [&str; 11] = [
    "RunCreated",
    "RunUpdated",
    "RunStateChanged",
    "AttemptEnded",
    "RunStopRequested",
    "RunReleased",
    "RunEnded",
    "RunRelabelled",
    "MetricReported",
    "MetricNameSeen",
    "ArtifactsRecorded",
];

fn stored(kind: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/events");
    std::fs::read_to_string(folder.join(format!("{kind}.1.json"))).unwrap()
}

fn same_json(left: &str, right: &str) -> bool {
    let read = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
    says_as_much(&read(left), &read(right))
}

/// Whether all that an older form says is in what is written today, which may say more.
fn says_as_much(today: &serde_json::Value, older: &serde_json::Value) -> bool {
    use serde_json::Value::Object;
    match (today, older) {
        (Object(today), Object(older)) => {
            older.iter().all(|(name, older)| today.get(name).is_some_and(|today| says_as_much(today, older)))
        }
        _ => today == older,
    }
}

#[test]
fn every_stored_form_is_read_and_written_alike() {
    // A build that cannot read an old event cannot open a user's data.
    for kind in KINDS {
        let text = stored(kind);
        let event = RunEvent::decode(kind, 1, &text).unwrap();
        assert_eq!((event.kind(), event.schema()), (kind, 1));
        assert!(same_json(&event.encode().unwrap(), &text), "{kind}: {}", event.encode().unwrap());
    }
    let text = stored("ExperimentCreated");
    let event = ExperimentEvent::decode("ExperimentCreated", 1, &text).unwrap();
    assert!(same_json(&event.encode().unwrap(), &text));
    assert!(RunEvent::decode("RunCreated", 2, &stored("RunCreated")).is_err(), "a later build's event is not guessed");
}
