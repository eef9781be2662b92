//! Two processes with the same services on PostgreSQL: one writes, the other one answers reads, forwards the rest, and
//! takes over when it is killed or stands still. Nothing that was acknowledged is lost, nothing is proposed twice.

#![cfg(feature = "postgres")]

use std::time::Duration;

use runtime::Stopwatch;
use serde_json::json;
use trialog_testkit::{
    Client, Layout, Places, S3Server, Server, Watchdog, ask_and_tell, asked_parameters, await_that, external_sweep,
    new_schema, objects_in_s3, postgres, s3,
};

/// For everything: a debug build on a busy machine needs a fifth of it.
const LIMIT: Duration = Duration::from_secs(240);
/// From the end of a writer until a command goes through again: 3 s of its lease, and what a busy machine needs.
const TAKEN_OVER_MAX: Duration = Duration::from_secs(15);
const TRIALS: usize = 24;
/// What may have two processes has them: its files are in the database.
const REPLICATED: Layout = &[
    ("workspaces", &["front"]),
    ("runs", &["front"]),
    ("compute", &["front"]),
    ("gateway", &["front"]),
    ("sweeps", &["a", "b"]),
    ("models", &["a", "b"]),
];
/// The objects of runs are in S3.
const RUNS_TWICE: Layout = &[
    ("workspaces", &["front"]),
    ("runs", &["a", "b"]),
    ("compute", &["front"]),
    ("gateway", &["front"]),
    ("sweeps", &["front"]),
    ("models", &["front"]),
];
/// What may not.
const KEPT_BY_TWO: Layout = &[
    ("workspaces", &["a", "b"]),
    ("runs", &["a", "b"]),
    ("compute", &["front"]),
    ("gateway", &["front"]),
    ("sweeps", &["front"]),
    ("models", &["front"]),
];

fn places(layout: Layout, url: &str) -> Places {
    Places::new(layout).configured(&format!("[store]\nurl = {url:?}\nprefix = {:?}\n", new_schema()))
}

/// Asks for a trial and tells its value; its parameter.
fn round(client: &Client) -> f64 {
    let begin = Stopwatch::start();
    let x = ask_and_tell(client, "told");
    assert!(begin.elapsed() < TAKEN_OVER_MAX, "it took {:?}", begin.elapsed());
    x
}

#[test]
fn who_stands_by_takes_over_from_one_that_is_killed_and_from_one_that_stands_still() {
    let Some(url) = postgres() else { return };
    let places = places(REPLICATED, &url);
    let _watchdog = Watchdog::new(LIMIT, places.home().path(), "standing by");
    let mut first = places.start("a");
    let mut second = Server::launch(places.options("b"));
    let front = places.start("front");
    let client = front.client();
    client.post("sweeps", &external_sweep("told", TRIALS)).expect(201);
    let mut seen: Vec<f64> = (0..TRIALS / 4).map(|_| round(&client)).collect();
    assert!(!second.is_announced(), "it stands by");

    eprintln!("standby: the writer is killed");
    first.kill();
    let begin = Stopwatch::start();
    seen.extend((TRIALS / 4..TRIALS / 2).map(|_| round(&client)));
    eprintln!("standby: six rounds are done {:.1} s later", begin.elapsed().as_secs_f64());
    await_that(TAKEN_OVER_MAX, || second.is_announced().then_some(()).ok_or_else(|| "not taken over".to_owned()));

    // The one that comes back stands by, and forwards what it is asked, until the other one stands still.
    first.begin();
    eprintln!("standby: the writer stands still");
    second.freeze(true);
    let begin = Stopwatch::start();
    seen.extend((TRIALS / 2..TRIALS * 3 / 4).map(|_| round(&client)));
    eprintln!("standby: six rounds are done {:.1} s later", begin.elapsed().as_secs_f64());
    await_that(TAKEN_OVER_MAX, || first.is_announced().then_some(()).ok_or_else(|| "not taken over".to_owned()));
    second.freeze(false);
    let ended = second.await_end(TAKEN_OVER_MAX).expect("it was replaced, and ends");
    assert!(!ended.success(), "{ended}");
    seen.extend((TRIALS * 3 / 4..TRIALS).map(|_| round(&client)));

    assert_eq!(asked_parameters(&client, "told"), seen, "what was answered is what is there, and nothing else");
    client.assert_verified("sweeps/told");
}

#[test]
fn who_stands_by_answers_reads_by_itself_and_what_was_acknowledged_is_in_them() {
    let Some(url) = postgres() else { return };
    let places = places(REPLICATED, &url);
    let _watchdog = Watchdog::new(LIMIT, places.home().path(), "reading beside the writer");
    let first = places.start("a");
    let second = Server::launch(places.options("b"));
    let front = places.start("front");
    let token = front.token();
    let doors = ["a", "b"].map(|process| Server::start(places.door_to(process)));
    let [writes, reads] = [0, 1].map(|place: usize| doors[place].client_with(&token));
    writes.post("sweeps", &external_sweep("told", TRIALS)).expect(201);
    await_that(LIMIT, || {
        let log = std::fs::read_to_string(places.home().join("b.log")).unwrap_or_default();
        log.contains("reads are answered here").then_some(()).ok_or_else(|| "reads are forwarded".to_owned())
    });
    let mut seen = Vec::new();
    for _ in 0..TRIALS / 2 {
        seen.push(ask_and_tell(&writes, "told"));
        assert_eq!(asked_parameters(&reads, "told"), seen, "what was acknowledged is seen at once");
    }
    let position = writes.patch("sweeps/told", &json!({"tags": {"seen": "yes"}})).header("trialog-position").to_owned();
    let read = reads.request("GET", "sweeps/told").header("trialog-at-least", &position).once().send();
    assert_eq!(read.expect(200)["tags"]["seen"], "yes");
    // Commands are forwarded, and what they led to is read here.
    seen.push(ask_and_tell(&reads, "told"));
    assert_eq!(asked_parameters(&reads, "told"), seen);
    let version = writes.get("sweeps/told").expect(200)["version"].as_i64().expect("a version");
    let path = format!("sweeps/told?wait=20s&after_version={version}");
    let changed = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| reads.get(&path).expect(200));
        seen.push(ask_and_tell(&writes, "told"));
        waiting.join().expect("it is answered")
    });
    assert!(changed["version"].as_i64() > Some(version), "{changed}");

    eprintln!("standby: the writer stands still, and reads are answered");
    first.freeze(true);
    let read = reads.request("GET", "sweeps/told/trials").once().send().expect(200);
    assert_eq!(read["trials"].as_array().map(Vec::len), Some(seen.len()));
    reads.request("GET", "sweeps/nothing").once().send().refused(404, "NotFound");
    first.freeze(false);
    // Whoever holds the leases by now.
    seen.extend((seen.len()..TRIALS).map(|_| round(&reads)));
    assert_eq!(asked_parameters(&reads, "told"), seen);
    reads.assert_verified("sweeps/told");
    drop(second);
}

#[test]
fn nobody_stands_by_for_a_process_that_keeps_files() {
    let Some(url) = postgres() else { return };
    let places = places(KEPT_BY_TWO, &url);
    let _watchdog = Watchdog::new(LIMIT, places.home().path(), "files of another process");
    let _first = places.start("a");
    let mut second = Server::launch(places.options("b"));
    let ended = second.await_end(Duration::from_secs(20)).expect("it is refused");
    let said = std::fs::read_to_string(places.home().join("b.log")).expect("its log");
    assert!(!ended.success() && said.contains("runs keeps files in that process's data folder"), "{said}");
    assert!(said.contains("[objects] url"), "what would let it: {said}");
}

/// More than S3 takes at once from us, and a little.
fn content(seed: u8, size: usize) -> Vec<u8> {
    (0..size as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect()
}

fn put(client: &Client, run: &str, name: &str, content: &[u8]) {
    let sent = client.request("PUT", &format!("runs/{run}/artifacts/{name}")).body("application/octet-stream", content);
    let answer = sent.send();
    assert!(answer.status < 300, "{name}: {}", answer.text());
}

fn is_there(client: &Client, run: &str, name: &str, content: &[u8]) {
    let answer = client.get(&format!("runs/{run}/artifacts/{name}"));
    assert!(answer.status == 200 && answer.body == content, "{name}: {} {}", answer.status, answer.body.len());
}

#[test]
fn two_replicas_of_runs_read_what_each_other_wrote_and_one_goes_on_when_the_other_is_killed() {
    let (Some(url), Some(_)) = (postgres(), s3()) else { return };
    let outside = tempfile::Builder::new().prefix("trialog-s3-").tempdir_in("/tmp").expect("a folder");
    let bucket = S3Server::start(outside.path());
    let prefix = new_schema();
    let config = format!("[store]\nurl = {url:?}\nprefix = {prefix:?}\n{}", objects_in_s3(&bucket.endpoint, &prefix));
    let places = Places::new(RUNS_TWICE).configured(&config);
    let _watchdog = Watchdog::new(LIMIT, places.home().path(), "two replicas of runs");
    let mut first = places.start("a");
    let second = Server::launch(places.options("b"));
    let front = places.start("front");
    let token = front.token();
    let doors = ["a", "b"].map(|process| Server::start(places.door_to(process)));
    let clients = [0, 1].map(|place: usize| doors[place].client_with(&token));
    let run =
        clients[0].post("runs", &json!({"name": "shared"})).expect(201)["run_id"].as_str().expect("an id").to_owned();
    let (small, large) = (content(1, 1_000), content(2, 20_000_000));
    put(&clients[0], &run, "small", &small);
    put(&clients[1], &run, "large", &large);
    assert!(!second.is_announced(), "it stands by, and forwards");
    is_there(&clients[1], &run, "small", &small);
    is_there(&clients[0], &run, "large", &large);

    eprintln!("standby: the writer of runs is killed");
    first.kill();
    await_that(TAKEN_OVER_MAX, || second.is_announced().then_some(()).ok_or_else(|| "not taken over".to_owned()));
    is_there(&clients[1], &run, "small", &small);
    is_there(&clients[1], &run, "large", &large);
    put(&clients[1], &run, "after", &small);
    // The one that comes back stands by: what is asked of it is what the other one has.
    first.begin();
    is_there(&clients[0], &run, "after", &small);
    assert!(!first.is_announced());
    let keeps = ["a", "b"].map(|name| std::fs::read_dir(places.home().join(name).join("objects")).map(Iterator::count));
    assert!(keeps.iter().all(|count| matches!(count, Ok(0))), "nothing is in their folders: {keeps:?}");

    eprintln!("standby: S3 stands still");
    bucket.freeze(true);
    let path = format!("runs/{run}/artifacts/small");
    let answer = clients[1].request("GET", &path).once().send();
    assert!(answer.header("retry-after") == "1", "{}", answer.text());
    answer.refused(503, "ObjectsUnavailable");
    bucket.freeze(false);
    is_there(&clients[1], &run, "small", &small);
}
