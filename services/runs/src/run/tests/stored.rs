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

/// Whether `whole` says all that `part` says; a newer writer may say more.
fn contains(whole: &serde_json::Value, part: &serde_json::Value) -> bool {
    match (whole, part) {
        (serde_json::Value::Object(whole), serde_json::Value::Object(part)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|said| contains(said, value)))
        }
        _ => whole == part,
    }
}

fn nothing_is_lost(written: &str, stored: &str) -> bool {
    let read = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
    contains(&read(written), &read(stored))
}

#[test]
fn every_stored_form_is_read_and_nothing_of_it_is_lost() {
    // A build that cannot read an old event cannot open a user's data.
    for kind in KINDS {
        let text = stored(kind);
        let event = RunEvent::decode(kind, 1, &text).unwrap();
        assert_eq!((event.kind(), event.schema()), (kind, 1));
        assert!(nothing_is_lost(&event.encode().unwrap(), &text), "{kind}: {}", event.encode().unwrap());
    }
    let text = stored("ExperimentCreated");
    let event = ExperimentEvent::decode("ExperimentCreated", 1, &text).unwrap();
    assert!(nothing_is_lost(&event.encode().unwrap(), &text));
    assert!(RunEvent::decode("RunCreated", 2, &stored("RunCreated")).is_err(), "a later build's event is not guessed");
}
