//! What may use what inside a service: no circle of files, calls and reactions apart, aggregates and views without
//! the wire and the world.

use std::collections::BTreeMap;

use super::uses::{Crate, code_of};
use super::{is_test_file, report, rust_files};

/// What an aggregate and a view must not know: the wire, the database, the network.
const OUTSIDE: [&str; 6] = ["contracts", "sqlx", "tonic", "rdkafka", "tokio", "actix_web"];

/// Each service's files by their path below `src`.
fn services() -> BTreeMap<String, Vec<(String, String)>> {
    let mut services: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for (path, text) in rust_files() {
        let parts = path.strip_prefix("services/").and_then(|path| path.split_once("/src/"));
        if let Some((service, file)) = parts.filter(|_| !is_test_file(&path)) {
            services.entry(service.to_owned()).or_default().push((file.to_owned(), text));
        }
    }
    services
}

fn read(files: &[(String, String)]) -> Crate {
    Crate::read(files.iter().map(|(file, text)| (file.as_str(), text.as_str())))
}

#[test]
fn no_files_of_a_service_go_round() {
    // What goes round can only be read as a whole, and not be taken apart.
    let mut faults = Vec::new();
    for (service, files) in services() {
        let parsed = read(&files);
        faults.extend(parsed.circles().iter().map(|circle| format!("services/{service}: {}", circle.join(" <-> "))));
    }
    report(&faults);
}

#[test]
fn calls_and_reactions_know_nothing_of_each_other() {
    // What both do belongs to neither.
    let planted = Crate::read([
        ("lib.rs", "mod api;\nmod reactions;\n"),
        ("api/mod.rs", "pub fn x() {}\n"),
        ("reactions/y.rs", "use crate::api::x;\n"),
    ]);
    assert_eq!(across(&planted), ["reactions/y.rs uses api/mod.rs"]);
    let mut faults = Vec::new();
    for (service, files) in services() {
        faults.extend(across(&read(&files)).iter().map(|fault| format!("services/{service}: {fault}")));
    }
    report(&faults);
}

fn across(service: &Crate) -> Vec<String> {
    let mut faults = Vec::new();
    for (from, targets) in service.edges() {
        let apart = [("api/", "reactions/"), ("reactions/", "api/"), ("views/", "api/"), ("views/", "reactions/")];
        for (one, other) in apart {
            let across = targets.iter().filter(|to| from.starts_with(one) && to.starts_with(other));
            faults.extend(across.map(|to| format!("{from} uses {to}")));
        }
    }
    faults
}

/// The folders that hold an aggregate: what is stored of it is in their `events.rs`. And those of the tables.
fn outside_of_what_is_stored(files: &[(String, String)]) -> Vec<String> {
    let stored = files.iter().filter(|(_, text)| text.contains("stored_events!"));
    let mut inside: Vec<String> =
        stored.filter_map(|(file, _)| Some(format!("{}/", file.strip_suffix("/events.rs")?))).collect();
    inside.push("views/".to_owned());
    let mut faults = Vec::new();
    for (file, text) in files.iter().filter(|(file, _)| inside.iter().any(|folder| file.starts_with(folder))) {
        let code = code_of(text);
        let uses =
            |name: &str| code.match_indices(&format!("{name}::")).any(|(at, _)| !code[..at].ends_with(['_', ':']));
        faults.extend(OUTSIDE.iter().filter(|name| uses(name)).map(|name| format!("{file} uses {name}")));
    }
    faults
}

#[test]
fn what_is_stored_knows_neither_the_wire_nor_the_world() {
    // A field that is renamed on the wire would change what is stored; a decision that waits cannot be replayed.
    let planted = [
        ("run/events.rs", "vocabulary::stored_events! {}\n"),
        ("run/state.rs", "use contracts::runs as wire;\n"),
        ("views/runs.rs", "use contracts::runs as wire;\n"),
        ("api/mod.rs", "use tonic::Status;\n"),
    ];
    let planted = planted.map(|(file, text)| (file.to_owned(), text.to_owned()));
    let expected = ["run/state.rs uses contracts", "views/runs.rs uses contracts"];
    assert_eq!(outside_of_what_is_stored(&planted), expected);
    let faults = services().into_iter().flat_map(|(service, files)| {
        outside_of_what_is_stored(&files).into_iter().map(move |fault| format!("services/{service}/src/{fault}"))
    });
    report(&faults.collect::<Vec<_>>());
}
