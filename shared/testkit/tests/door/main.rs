//! The HTTP door of one server against the table of bad input: what is refused, how it is told, what is done once only,
//! and what becomes of a run that does not go as its owner thought.
//!
//! The rows that need no history are data (`*.toml`); those that do are told as short stories, one function a story.
//! All faults are reported at once.

mod access;
mod asking;
mod endpoints;
mod metrics;
mod models;
mod sweeps;
mod table;
mod tenants;
mod trials;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Client, Home, Options, Server, Watchdog};

/// For everything: a debug build on a busy machine needs a fraction of it.
const LIMIT: Duration = Duration::from_secs(400);
/// For one thing to come about.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// A cluster whose nodes never come, for sweeps that must not run.
pub const STILL: &str = "spot";
/// A cluster whose nodes come at once.
pub const LIVELY: &str = "lively";

/// Puts a cluster and waits for it.
pub fn put_cluster(client: &Client, name: &str, size: &str, max_nodes: u32, boot_seconds: f64) {
    let cluster = json!({
        "vm_size": size, "vm_priority": "low_priority", "scale": {"max_nodes": max_nodes},
        "provider": {"boot_seconds": boot_seconds, "notice_seconds": 1}
    });
    trialog_testkit::put_cluster(client, name, &cluster);
}

/// A document that nothing is wrong with, on the cluster whose nodes never come.
pub fn sound(name: &str) -> Value {
    json!({
        "name": name,
        "cluster": STILL,
        "objective": {"goal": "maximize", "primary_metric": "val_acc"},
        "search_space": {"lr": {"type": "uniform", "min_value": 0.1, "max_value": 1}},
        "sampling_algorithm": {"type": "random", "seed": 7},
        "limits": {"max_total_trials": 4, "max_concurrent_trials": 2},
        "trial": {"command": ["/bin/true", "${{search_space.lr}}"], "resources": {"cpu_count": 1}}
    })
}

type Story = fn(&Client);

const STORIES: &[(&str, Story)] = &[
    ("the table of requests", table::requests),
    ("the table of documents", table::documents),
    ("a repeat is answered as the first time", sweeps::a_repeat_is_answered_as_the_first_time),
    ("a key is good for one body", sweeps::a_key_is_good_for_one_body),
    ("a name is taken once", sweeps::a_name_is_taken_once),
    ("a dry run leaves nothing behind", sweeps::a_dry_run_leaves_nothing_behind),
    ("strict refuses what would only be warned of", sweeps::strict_refuses_warnings),
    ("only some of a sweep can be changed", sweeps::only_some_of_a_sweep_can_be_changed),
    ("a stale tag is refused", sweeps::a_stale_tag_is_refused),
    ("cancelling twice", sweeps::cancelling_twice),
    ("a cluster that goes takes no sweep", sweeps::a_cluster_that_goes_takes_no_sweep),
    ("lists are paged", sweeps::lists_are_paged),
    ("a space has a limit", sweeps::a_space_has_a_limit),
    ("events are resumed", sweeps::events_are_resumed),
    ("a read sees the write before it", sweeps::a_read_sees_the_write_before_it),
    ("scopes", access::scopes),
    ("a workspace is not seen from another", access::a_workspace_is_not_seen_from_another),
    ("nothing of another workspace is there", tenants::nothing_of_another_workspace_is_there),
    ("a revoked token", access::a_revoked_token),
    ("a token that ends by itself", access::a_token_that_ends_by_itself),
    ("a workspace is deleted when it is empty", access::a_workspace_is_deleted_when_it_is_empty),
    ("the first PUT makes and the second does not", access::the_first_put_makes_and_the_second_does_not),
    ("points of a plain run", metrics::points_of_a_plain_run),
    ("batches of a writer", metrics::batches_of_a_writer),
    ("values that are none", metrics::values_that_are_none),
    ("a run that is over", metrics::a_run_that_is_over),
    ("the points of a running trial", trials::the_points_of_a_running_trial),
    ("a metric that is not the primary one", trials::a_metric_that_is_not_the_primary_one),
    ("trials that all crash", trials::trials_that_all_crash),
    ("a preempted node", trials::a_preempted_node),
    ("an external sweep is asked and told", asking::an_external_sweep_is_asked_and_told),
    ("several metrics are told and have a front", asking::several_metrics_are_told_and_have_a_front),
    ("asks and tells that are wrong", asking::asks_and_tells_that_are_wrong),
    ("registering models", models::registering_models),
    ("traffic of an endpoint", endpoints::traffic_of_an_endpoint),
    ("answers that a model does not give", endpoints::answers_that_a_model_does_not_give),
];

#[test]
fn the_door_answers_as_the_table_says() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the door test");
    let server = Server::start(Options::up(&home));
    let client = server.client();
    put_cluster(&client, STILL, "D2", 2, 86_000.0);
    put_cluster(&client, LIVELY, "D8", 1, 0.0);
    // One story alone: TRIALOG_DOOR_STORY=part of its name.
    let only = std::env::var("TRIALOG_DOOR_STORY").unwrap_or_default();
    let mut faults = Vec::new();
    for (name, story) in STORIES.iter().filter(|(name, _)| name.contains(&only)) {
        let watch = runtime::Stopwatch::start();
        if catch_unwind(AssertUnwindSafe(|| story(&client))).is_err() {
            faults.push(*name);
        }
        eprintln!("door: {name}: {} ms", watch.elapsed().as_millis());
    }
    assert!(faults.is_empty(), "{} stories went wrong (see above): {faults:#?}", faults.len());
}
