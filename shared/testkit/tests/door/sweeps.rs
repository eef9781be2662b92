//! Stories of sweeps that never get a node.

use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Client, await_that};

use super::{PATIENCE, put_cluster, sound};

/// How it is said that there is no such cluster.
const NO_CLUSTER: &str = "cluster 'nc7' in workspace 'default'; `trialog cluster list` shows those that there are";

fn submit(client: &Client, document: &Value) -> String {
    let id = &client.post("sweeps", document).expect(201)["id"];
    id.as_str().expect("an id").to_owned()
}

fn cancel(client: &Client, sweep: &str) {
    client.post(&format!("sweeps/{sweep}:cancel"), &json!({})).expect(202);
    client.await_version(&format!("sweeps/{sweep}"), PATIENCE, |sweep| sweep["state"] == "Canceled");
}

/// Row 52, second half: 201 and the same body, also when the first answer was lost on its way.
pub fn a_repeat_is_answered_as_the_first_time(client: &Client) {
    let send = || client.request("POST", "sweeps").header("Idempotency-Key", "repeat-1").json(&sound("repeat")).send();
    let (first, second) = (send(), send());
    assert_eq!((first.status, second.status), (201, 201), "{}", second.text());
    assert_eq!(first.text(), second.text());
    assert_eq!(first.header("trialog-position"), second.header("trialog-position"));
    let named = client.list("sweeps", "sweeps").iter().filter(|sweep| sweep["name"] == "repeat").count();
    assert_eq!(named, 1);
    cancel(client, first.json()["id"].as_str().expect("an id"));
    // Still after it has ended.
    assert_eq!(first.text(), send().text());

    let send =
        || client.request("POST", "runs").header("Idempotency-Key", "run-1").json(&json!({"name": "once"})).send();
    let (first, second) = (send(), send());
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.json()["run_id"], second.json()["run_id"]);
}

/// Row 53.
pub fn a_key_is_good_for_one_body(client: &Client) {
    let send = |path: &str, body: &Value| {
        client.request("POST", path).header("Idempotency-Key", "conflict-1").json(body).send()
    };
    let id = send("sweeps", &sound("conflict")).expect(201)["id"].as_str().expect("an id").to_owned();
    let mut other = sound("conflict");
    other["limits"]["max_total_trials"] = json!(5);
    send("sweeps", &other).refused(422, "KeyReuse");
    // On another route the same key is another key.
    send("runs", &json!({"name": "other"})).expect(201);
    cancel(client, &id);
}

/// Row 52, first half.
pub fn a_name_is_taken_once(client: &Client) {
    let id = submit(client, &sound("taken"));
    let mut other = sound("taken");
    other["description"] = json!("other content");
    let problem = client.post("sweeps", &other).refused(409, "NameTaken");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("taken")), "{problem}");
    assert_eq!(client.get("sweeps/taken").expect(200)["sweep_id"], json!(id));
    cancel(client, &id);
}

/// The same checks, nothing written, no name taken, no key kept.
pub fn a_dry_run_leaves_nothing_behind(client: &Client) {
    let dry = |document: &Value| {
        client.request("POST", "sweeps?dry_run=true").header("Idempotency-Key", "dry-1").json(document).send()
    };
    let plan = dry(&sound("dry")).expect(200);
    assert_eq!(plan["plan"]["trials"], json!(4));
    let proposals = plan["plan"]["first_proposals"].as_array().expect("proposals").clone();
    assert_eq!(proposals.len(), 4, "{plan}");
    assert_eq!(plan["warnings"], json!([]));
    assert!(plan.get("id").is_none() && plan["plan"]["gates"].is_array(), "{plan}");
    client.get("sweeps/dry").refused(404, "NotFound");
    let mut unknown = sound("dry");
    unknown["cluster"] = json!("nc7");
    let problem = dry(&unknown).refused(404, "NotFound");
    assert_eq!(problem["detail"], json!(NO_CLUSTER));
    // The proposals shown are those that come: the seed was given.
    let id = submit(client, &sound("dry"));
    let wanted = |trials: &[Value]| trials.first().map(|trial| trial["parameters"]["lr"].clone());
    let first = await_that(PATIENCE, || {
        wanted(&client.list(&format!("sweeps/{id}/trials"), "trials")).ok_or("no trial was proposed")
    });
    let text = proposals[0].to_string();
    assert!(text.contains(&first.to_string()), "{text} does not hold {first}");
    cancel(client, &id);
}

/// Warnings are refusals when strict.
pub fn strict_refuses_warnings(client: &Client) {
    let mut document = sound("strict");
    document["limits"]["max_concurrent_trials"] = json!(4);
    document["trial"]["command"] = json!(["/bin/true", "${{trial.index}}"]);
    let answer = client.post("sweeps?strict=true", &document);
    assert_eq!(answer.errors(), [("UnusedParameter".to_owned(), "/search_space/lr".to_owned())], "{}", answer.text());
    answer.refused(422, "UnusedParameter");
    client.get("sweeps/strict").refused(404, "NotFound");
}

/// Row 57, and that limits do change.
pub fn only_some_of_a_sweep_can_be_changed(client: &Client) {
    let id = submit(client, &sound("changed"));
    let path = format!("sweeps/{id}");
    let answer = client.patch(&path, &json!({"search_space": {}, "objective": {}}));
    let wanted = [("Immutable", "/objective"), ("Immutable", "/search_space")];
    assert_eq!(
        answer.errors(),
        wanted.map(|(code, pointer)| (code.to_owned(), pointer.to_owned())),
        "{}",
        answer.text()
    );
    answer.refused(409, "Immutable");
    client.patch(&path, &json!({"lmits": {}})).refused(400, "UnknownField");
    client.patch(&path, &json!({"limits": {"max_total_trials": 0}})).refused(422, "OutOfRange");
    let changed = client.patch(&path, &json!({"limits": {"max_total_trials": 9}, "description": "more"})).expect(200);
    assert_eq!((&changed["max_total_trials"], &changed["description"]), (&json!(9), &json!("more")), "{changed}");
    let paused = client.post(&format!("{path}:pause"), &json!({})).expect(200);
    assert_eq!(paused["state"], "Paused");
    client.post(&format!("{path}:pause"), &json!({"mode": "checkpoint"})).refused(422, "NeedsCheckpoint");
    client.post(&format!("{path}:pause"), &json!({"mode": "save"})).refused(422, "BadPauseMode");
    // A wish that holds already is no error.
    client.post(&format!("{path}:pause"), &json!({})).expect(200);
    let resumed = client.post(&format!("{path}:resume"), &json!({})).expect(200);
    assert!(["Running", "Queued"].iter().any(|state| resumed["state"] == *state), "{resumed}");
    cancel(client, &id);
}

/// If-Match with the tag of an older version: 412 and nothing changed.
pub fn a_stale_tag_is_refused(client: &Client) {
    let id = submit(client, &sound("tagged"));
    let path = format!("sweeps/{id}");
    let patch = |tag: &str, text: &str| {
        client.request("PATCH", &path).header("If-Match", tag).json(&json!({"description": text})).send()
    };
    assert_eq!(patch("\"v0\"", "stale").status, 412);
    assert_eq!(patch("nonsense", "stale").status, 400);
    assert_eq!(client.get(&path).expect(200)["description"], json!(""));
    // Events of its own may come in between: read and try again, as a client does.
    let watch = runtime::Stopwatch::start();
    loop {
        let tag = client.get(&path).header("etag").to_owned();
        assert!(tag.starts_with("\"v"), "{tag}");
        let answer = patch(&tag, "fresh");
        if answer.status == 200 {
            assert_ne!(answer.header("etag"), tag);
            break;
        }
        assert!(answer.status == 412 && watch.elapsed() < PATIENCE, "{}", answer.text());
    }
    let tag = client.get("clusters/spot").header("etag").to_owned();
    let scale = json!({"scale": {"idle_seconds_before_scaledown": 601}});
    assert_eq!(
        client.request("PATCH", "clusters/spot").header("If-Match", "\"v999999\"").json(&scale).send().status,
        412
    );
    let unchanged = client.request("GET", "clusters/spot").header("If-None-Match", &tag).send();
    assert!([200, 304].contains(&unchanged.status));
    client.patch("clusters/spot", &json!({"vm_size": "D8"})).refused(409, "Immutable");
    cancel(client, &id);
}

/// Row R9.
pub fn cancelling_twice(client: &Client) {
    let id = submit(client, &sound("cancelled"));
    let cancel = || client.post(&format!("sweeps/{id}:cancel"), &json!({}));
    assert_eq!(cancel().status, 202);
    assert_eq!(cancel().status, 200);
    let end = client.await_version(&format!("sweeps/{id}"), PATIENCE, |sweep| sweep["state"] == "Canceled");
    // The reason names who canceled it.
    assert_eq!(end["reason"], "first admin", "{end}");
    let again = cancel();
    assert_eq!((again.status, &again.json()["state"]), (200, &json!("Canceled")));
    for trial in client.list(&format!("sweeps/{id}/trials"), "trials") {
        assert_eq!(trial["state"], "Canceled", "{trial}");
    }
    client.post(&format!("sweeps/{id}:resume"), &json!({})).refused(409, "WrongState");
}

/// Rows 49 and 50.
pub fn a_cluster_that_goes_takes_no_sweep(client: &Client) {
    let mut document = sound("unplaced");
    document["cluster"] = json!("nc7");
    let problem = client.post("sweeps", &document).refused(404, "NotFound");
    assert_eq!(problem["detail"], json!(NO_CLUSTER));
    // Errors of the document are answered together with what is not there, and are the graver ones.
    document["objective"]["goal"] = json!("up");
    let both = client.post("sweeps", &document);
    let errors = [("NotFound", "/cluster"), ("BadGoal", "/objective/goal")];
    let errors = errors.map(|(code, pointer)| (code.to_owned(), pointer.to_owned()));
    assert_eq!((both.status, both.errors()), (422, errors.to_vec()), "{}", both.text());
    // A cluster whose node is busy takes a moment to go; it may still have gone before the sweep came.
    document["objective"]["goal"] = json!("maximize");
    for attempt in 0..5 {
        let cluster = format!("going-n{attempt}");
        put_cluster(client, &cluster, "D2", 1, 0.0);
        let job = json!({"cluster": cluster, "command": ["/bin/sleep", "300"], "resources": {"cpu_count": 1}});
        let run = client.post("runs", &json!({"name": "busy", "job": job})).expect(201)["run_id"].clone();
        client.await_run(run.as_str().expect("an id"), PATIENCE, |run| run["state"] == "Running");
        client.delete(&format!("clusters/{cluster}")).refused(409, "ClusterInUse");
        client.delete(&format!("clusters/{cluster}?force=true"));
        document["cluster"] = json!(cluster);
        let answer = client.post("sweeps", &document);
        if answer.status == 409 {
            answer.refused(409, "ClusterNotReady");
            return;
        }
        answer.refused(404, "NotFound");
    }
    panic!("a cluster with a busy node was always gone at once");
}

/// Cursors go through all of a list once, and a bad one is refused.
pub fn lists_are_paged(client: &Client) {
    let names: Vec<String> = (0..5).map(|n| format!("paged-{n}")).collect();
    let ids: Vec<_> = names.iter().map(|name| submit(client, &sound(name))).collect();
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("sweeps?page_size=2&page_token={token}")).expect(200);
        let sweeps = page["sweeps"].as_array().expect("sweeps");
        assert!(sweeps.len() <= 2);
        seen.extend(sweeps.iter().map(|sweep| sweep["name"].as_str().unwrap_or_default().to_owned()));
        token = page["next_page_token"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
    }
    for name in &names {
        assert_eq!(seen.iter().filter(|seen| *seen == name).count(), 1, "{name} in {seen:?}");
    }
    for size in ["1001", "-1"] {
        assert_eq!(client.get(&format!("sweeps?page_size={size}")).status, 422, "page_size={size}");
    }
    ids.iter().for_each(|id| cancel(client, id));
}

/// Row 6: too many parameters are counted, not listed.
pub fn a_space_has_a_limit(client: &Client) {
    let mut document = sound("large");
    let parameters = (0..312).map(|n| (format!("p{n}"), json!({"type": "randint", "upper": 2})));
    document["search_space"] = Value::Object(parameters.collect());
    document["trial"]["command"] = json!(["/bin/true"]);
    let problem = client.post("sweeps", &document).refused(422, "TooLarge");
    assert_eq!(problem["detail"], json!("search_space has 312 parameters, limit 256"));
}

/// A stream goes on where it was left: nothing twice, nothing left out.
pub fn events_are_resumed(client: &Client) {
    let id = submit(client, &sound("streamed"));
    client.await_version(&format!("sweeps/{id}"), PATIENCE, |sweep| sweep["proposals"].as_u64() > Some(0));
    cancel(client, &id);
    let path = format!("sweeps/{id}/events");
    let read = |path: &str| {
        let (mut events, mut seen) = (client.events(path), Vec::new());
        while let Some(event) = events.next_within(Duration::from_millis(700)) {
            seen.push((
                event.id,
                event.data["type"].as_str().unwrap_or_default().to_owned(),
                event.data["position"].clone(),
            ));
        }
        seen
    };
    let all = read(&path);
    let kinds: Vec<_> = all.iter().map(|(_, kind, _)| kind.as_str()).collect();
    // Between two services there is no order; within each there is.
    let own = kinds.iter().find(|kind| kind.starts_with("Sweep") || kind.starts_with("Trial"));
    assert_eq!(own, Some(&"SweepSubmitted"), "{kinds:?}");
    assert!(kinds.contains(&"TrialProposed") && kinds.contains(&"SweepStateChanged"), "{kinds:?}");
    let middle = all.len() / 2;
    let sorted = |seen: &[(String, String, Value)]| {
        let mut facts: Vec<_> = seen.iter().map(|(_, kind, position)| format!("{kind} {position}")).collect();
        facts.sort();
        facts
    };
    let rest = read(&format!("{path}?from={}", all[middle].0));
    assert_eq!(sorted(&rest), sorted(&all[middle + 1..]));
    client.get("sweeps/streamed/events?from=nowhere").refused(400, "BadPosition");
}

/// A read that names the position of a write sees that write.
pub fn a_read_sees_the_write_before_it(client: &Client) {
    for number in 0..20 {
        let written = client.post("runs", &json!({"name": format!("read-{number}")}));
        let position = written.header("trialog-position").to_owned();
        assert!(position.starts_with("runs="), "{position}");
        let run = written.expect(201)["run_id"].as_str().expect("an id").to_owned();
        let listed = client.request("GET", "runs?page_size=1").header("Trialog-At-Least", &position).send().expect(200);
        assert_eq!(listed["runs"][0]["run_id"], json!(run));
    }
}
