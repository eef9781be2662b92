//! An installation whose databases are files goes on with them in PostgreSQL: everything reads as before, everything
//! that was decided is decided again, what was under way goes on; and a move that breaks off has done nothing, or is
//! finished.

#![cfg(feature = "postgres")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use trialog_testkit::{
    Client, Fixture, Home, Options, Server, Watchdog, ask_and_tell, asked_parameters, await_that, binary,
    external_sweep, new_schema, objects_in_s3, postgres, s3,
};

/// For everything: a debug build on a busy machine needs a fraction of it.
const LIMIT: Duration = Duration::from_secs(900);
const PATIENCE: Duration = Duration::from_secs(60);
/// Trials of the sweep that is asked from outside, and how many were told before the move.
const TRIALS: usize = 10;
const TOLD: usize = 4;

/// An installation in files, and where it is to go.
struct Installation {
    home: Home,
    url: String,
    prefix: String,
    config: String,
}

impl Installation {
    fn new(url: &str) -> Self {
        let (home, prefix) = (Home::new(), new_schema());
        let objects = s3().map(|endpoint| objects_in_s3(&endpoint, &prefix)).unwrap_or_default();
        let config = format!("[store]\nurl = {url:?}\nprefix = {prefix:?}\n{objects}");
        let config = home.write("trialog.toml", &config);
        let config = config.display().to_string();
        Self { home, url: url.to_owned(), prefix, config }
    }

    fn in_files(&self) -> Options {
        Options::up(&self.home)
    }

    fn moved(&self) -> Options {
        Options::up(&self.home).with(&["--config", &self.config])
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary());
        let data = if words[0] == "move" { "--from" } else { "--data" };
        command.args(words).arg(data).arg(self.home.join("d")).stdin(Stdio::null());
        command
    }

    /// How a command on the folder ends, and what it says.
    fn ends(&self, words: &[&str]) -> (bool, String) {
        let done = self.command(words).output().unwrap_or_else(|error| panic!("{}: {error}", binary().display()));
        let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (done.status.success(), text)
    }

    fn refused(&self, words: &[&str], why: &str) {
        let (is_done, text) = self.ends(words);
        assert!(!is_done && text.contains(why), "{words:?}: {text}");
    }

    fn words<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&["move", "--to", &self.url, "--prefix", &self.prefix, "--config", &self.config], more].concat()
    }

    /// What a move that must go through says.
    fn carry(&self, more: &[&str]) -> String {
        let (is_done, text) = self.ends(&self.words(more));
        assert!(is_done, "{text}");
        text
    }
}

/// A connection beside the server's own.
struct Beside {
    runtime: tokio::runtime::Runtime,
    connection: PgConnection,
}

impl Beside {
    fn new(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let connection = runtime.block_on(PgConnection::connect(url)).expect("the server of tests");
        Self { runtime, connection }
    }

    fn run(&mut self, text: &str) {
        let done = sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut self.connection);
        self.runtime.block_on(done).unwrap_or_else(|error| panic!("{text}: {error}"));
    }

    fn count(&mut self, text: &str) -> i64 {
        let found = sqlx::query_scalar(AssertSqlSafe(text.to_owned())).fetch_one(&mut self.connection);
        self.runtime.block_on(found).unwrap_or_else(|error| panic!("{text}: {error}"))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// What was begun in files, to go on with.
struct Begun {
    run: String,
    keyed: String,
    token: String,
    seen: Vec<f64>,
    /// The ids of its events, in their order.
    events: Vec<String>,
}

fn append_log(client: &Client, run: &str, offset: usize, text: &str) {
    let path = format!("runs/{run}/logs?offset={offset}");
    client.request("POST", &path).body("text/plain", text).send().expect(200);
}

fn keyed(client: &Client) -> String {
    let request = client.request("POST", "runs").header("Idempotency-Key", "moved").json(&json!({"name": "keyed"}));
    text(&request.send().expect(201)["run_id"])
}

fn begin(client: &Client) -> Begun {
    client.post("sweeps", &external_sweep("told", TRIALS)).expect(201);
    let mut events = client.events("sweeps/told/events");
    let seen: Vec<f64> = (0..TOLD).map(|_| ask_and_tell(client, "told")).collect();
    let run = text(&client.post("runs", &json!({"name": "moved"})).expect(201)["run_id"]);
    append_log(client, &run, 0, "before\n");
    let points = json!([{"name": "loss", "value": 0.5, "step": 1}, {"name": "odd", "value": "NaN", "step": 1}]);
    client.post(&format!("runs/{run}/metrics"), &json!({"writer": "w", "sequence": 1, "metrics": points})).expect(200);
    let model = client.request("PUT", &format!("runs/{run}/artifacts/outputs/model/score.py"));
    let artifact = model.body("application/octet-stream", "def score(rows): return rows\n").send();
    assert!(artifact.status < 300, "{}", artifact.text());
    let version = json!({"run_id": run, "artifact_path": "outputs/model", "force": true});
    client.post("models/carried/versions", &version).expect(201);
    client.put("models/carried/aliases/champion", &json!({"version": 1})).expect(201);
    let made = client.post("tokens", &json!({"name": "ada", "scope": "contributor"})).expect(201);
    let events: Vec<String> =
        std::iter::from_fn(|| events.next_within(Duration::from_secs(2))).map(|event| event.id).collect();
    Begun { run, keyed: keyed(client), token: text(&made["text"]), seen, events }
}

/// What is asked before and after. Nodes come and go, and the port is another one.
fn is_lasting(path: &str) -> bool {
    !["/clusters", "/endpoints"].iter().any(|part| path.contains(part))
}

/// What GETs answer that concerns what is stored.
fn answers(client: &Client, paths: &[String]) -> Vec<(u16, Value)> {
    let answer = |path: &String| {
        let answer = client.get(&format!("/api/v1/workspaces{}{path}", if path.is_empty() { "" } else { "/" }));
        let mut found = answer.json();
        found.as_object_mut().map(|fields| fields.remove("request_id"));
        (answer.status, found)
    };
    paths.iter().map(answer).collect()
}

fn goes_on(client: &Client, begun: Begun) {
    let Begun { run, keyed: first, token, mut seen, events: before } = begun;
    assert_eq!(keyed(client), first, "a repeat gets the first answer");
    // The stream of events goes on behind the last one that was seen.
    let mut events = client.events(&format!("sweeps/told/events?from={}", before.last().expect("an event")));
    let of_ada = client.with_token(&token);
    seen.extend((TOLD..TRIALS).map(|_| ask_and_tell(&of_ada, "told")));
    let next = events.next_within(PATIENCE).expect("an event");
    assert!(!before.contains(&next.id), "{} again after {before:?}", next.id);
    client.post("sweeps", &external_sweep("again", TRIALS)).expect(201);
    let again: Vec<f64> = (0..TRIALS).map(|_| ask_and_tell(client, "again")).collect();
    assert_eq!(seen, again, "the points of a sweep that was never moved");
    let done = client.await_version("sweeps/told", PATIENCE, |sweep| sweep["state"] == "Completed");
    assert_eq!(done["name"], "told");
    client.assert_verified("sweeps/told");
    // What follows sweeps goes on, too: the last trial's run ends.
    let trials = client.list("sweeps/told/trials", "trials");
    client.await_run(&text(&trials[TRIALS - 1]["run_id"]), PATIENCE, |run| run["state"] == "Completed");
    append_log(client, &run, 7, "after\n");
    assert_eq!(client.get(&format!("runs/{run}/logs")).text(), "before\nafter\n");
    let point = json!([{"name": "loss", "value": 0.25, "step": 2}]);
    let send = |sequence: u32| {
        let body = json!({"writer": "w", "sequence": sequence, "metrics": point});
        client.post(&format!("runs/{run}/metrics"), &body).expect(200);
    };
    // A batch that came before the move is known.
    (1..=2).for_each(send);
    let points = client.list(&format!("runs/{run}/metrics/loss"), "points");
    let values: Vec<f64> = points.iter().filter_map(|point| point["value"].as_f64()).collect();
    assert_eq!(values, [0.5, 0.25]);
    let script = client.get(&format!("runs/{run}/artifacts/outputs/model/score.py")).text();
    assert!(script.starts_with("def score"), "{script}");
    assert_eq!(client.get("models/carried/versions/@champion").expect(200)["version"], 1);
    client.patch(&format!("runs/{run}"), &json!({"state": "Completed"})).expect(200);
}

#[test]
fn an_installation_goes_on_in_postgres_as_if_it_had_always_been_there() {
    let Some(url) = postgres() else { return };
    let there = Installation::new(&url);
    let _watchdog = Watchdog::new(LIMIT, there.home.path(), "the move");
    let fixture = Fixture::of("629f652");
    let mut paths: Vec<String> = fixture.unpack(&there.home).into_keys().filter(|path| is_lasting(path)).collect();
    there.refused(&there.words(&[]), "trialog migrate --data");
    let mut server = Server::start(there.in_files());
    let client = server.client();
    let begun = begin(&client);
    paths.push(format!("default/runs/{}/metrics", begun.run));
    paths.extend(["default/sweeps/told/trials", "default/models/carried/aliases"].map(str::to_owned));
    there.refused(&there.words(&[]), "trialog down --data");
    let before = answers(&client, &paths);
    server.stop();

    let listed = there.carry(&["--dry-run"]);
    let carried = there.carry(&[]);
    let tables = |text: &str| -> Vec<String> {
        let is_table = |line: &&str| line.split_whitespace().last().is_some_and(|hash| hash.len() == 32);
        text.lines().filter(is_table).map(str::to_owned).collect()
    };
    assert_eq!(tables(&listed), tables(&carried));
    for name in ["runs        metric_batches", "sweeps      events", "workspaces  commands", "compute     jobs"] {
        assert!(carried.contains(name), "{name} in\n{carried}");
    }
    for told in ["[store]", &there.prefix, "db/moved"] {
        assert!(carried.contains(told), "{told} in\n{carried}");
    }
    for words in [&["up", "--listen", "127.0.0.1:0"][..], &["doctor"], &["migrate"]] {
        there.refused(words, "give store.url and store.prefix");
    }
    there.refused(&["move", "--to", &url, "--prefix", "another"], "moved to");
    assert!(there.carry(&[]).contains("[store]"), "it was done, and nothing is left to do");
    if s3().is_some() {
        let place = format!("are in s3://trialog/{}", there.prefix);
        assert!(listed.contains("would go to s3://") && carried.contains(&place), "{carried}");
        // From now on the folder's are nobody's.
        fs::remove_dir_all(there.home.join("d/objects/sha256")).expect("it has objects");
    }

    let mut server = Server::start(there.moved());
    let client = server.client();
    for (path, (before, after)) in paths.iter().zip(before.iter().zip(answers(&client, &paths))) {
        assert_eq!((before, path), (&after, path));
    }
    for (path, before) in fixture.verified() {
        let now = client.post(&format!("/api/v1/workspaces/{path}:verify"), &json!({})).expect(200);
        assert_eq!((&now["differences"], &now["checked"]), (&json!([]), &before["checked"]), "{path}: {now}");
    }
    goes_on(&client, begun);
    server.stop();
    let (is_sound, said) = there.ends(&["doctor", "--config", &there.config]);
    assert!(is_sound && said.contains("sound"), "{said}");
    let (is_done, said) = there.ends(&["migrate", "--config", &there.config]);
    assert!(is_done && said.matches("has all tables of this build").count() == 5, "{said}");
}

/// Begins a move that does not come to its end, and kills it there.
fn broken_off(there: &Installation, beside: &mut Beside, lock: u32) {
    beside.run(&format!("SELECT pg_advisory_lock({lock})"));
    let mut moving: Child = there.command(&there.words(&[])).stdout(Stdio::null()).spawn().expect("the binary");
    await_that(PATIENCE, || {
        assert!(moving.try_wait().is_ok_and(|ended| ended.is_none()), "it waits for nothing");
        let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = ";
        if beside.count(&format!("{waits}{lock}")) == 1 { Ok(()) } else { Err("it does not wait") }
    });
    moving.kill().expect("it lives");
    moving.wait().expect("its end");
}

/// Waits until the server has done with the connections of a move that was killed.
fn await_gone(beside: &mut Beside, prefix: &str) {
    let there = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'trialog {prefix}%'");
    await_that(PATIENCE, || if beside.count(&there) == 0 { Ok(()) } else { Err("its connection is there") });
}

/// Lets a statement on a table of the target wait for a lock of the test.
fn wait_at(beside: &mut Beside, table: &str, when: &str, lock: u32) {
    let name = format!("{}.wait_{lock}", table.split('.').next().expect("a schema"));
    beside.run(&format!(
        "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_advisory_xact_lock({lock}); RETURN NULL; END';
         CREATE {when} EXECUTE FUNCTION {name}()"
    ));
}

#[test]
fn a_move_that_breaks_off_has_done_nothing_or_is_finished() {
    let Some(url) = postgres() else { return };
    let there = Installation::new(&url);
    let _watchdog = Watchdog::new(LIMIT, there.home.path(), "a move that breaks off");
    let mut server = Server::start(there.in_files());
    server.client().post("sweeps", &external_sweep("told", TRIALS)).expect(201);
    let mut seen = vec![ask_and_tell(&server.client(), "told")];
    append_log(&server.client(), &keyed(&server.client()), 0, "before\n");
    server.stop();
    // The schemas are there, and wait.
    let elsewhere = there.home.join("elsewhere");
    let made = Command::new(binary()).args(["migrate", "--config", &there.config, "--data"]).arg(&elsewhere).output();
    let made = made.expect("migrate");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (mut beside, mut looks) = (Beside::new(&url), Beside::new(&url));
    let (chunks, events) = (format!("{}_runs.log_chunks", there.prefix), format!("{}_compute.log_meta", there.prefix));
    let base = u32::from_str_radix(&there.prefix[1..8], 16).expect("a random name") & 0x7fff_fff0;
    let (in_the_middle, at_the_end) = (base, base + 1);
    let middle = format!("TRIGGER waits BEFORE INSERT ON {chunks} FOR EACH STATEMENT");
    wait_at(&mut looks, &chunks, &middle, in_the_middle);
    let end = format!("CONSTRAINT TRIGGER waits AFTER INSERT ON {events} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW");
    wait_at(&mut looks, &events, &end, at_the_end);

    broken_off(&there, &mut beside, in_the_middle);
    beside.run("SELECT pg_advisory_unlock_all()");
    await_gone(&mut looks, &there.prefix);
    assert_eq!(looks.count(&format!("SELECT count(*) FROM {}_workspaces.events", there.prefix)), 0);
    let mut server = Server::start(there.in_files());
    seen.push(ask_and_tell(&server.client(), "told"));
    server.stop();

    // Killed while it commits: whether it has is not known until the server is asked.
    broken_off(&there, &mut beside, at_the_end);
    let up = ["up", "--listen", "127.0.0.1:0"];
    there.refused(&up, "the same `trialog move` again");
    looks.run(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'trialog {}%'",
        there.prefix
    ));
    await_gone(&mut looks, &there.prefix);
    beside.run("SELECT pg_advisory_unlock_all()");
    assert_eq!(looks.count(&format!("SELECT count(*) FROM {}_workspaces.events", there.prefix)), 0);
    broken_off(&there, &mut beside, at_the_end);
    beside.run("SELECT pg_advisory_unlock_all()");
    await_gone(&mut looks, &there.prefix);
    assert!(looks.count(&format!("SELECT count(*) FROM {}_workspaces.events", there.prefix)) > 0, "it took place");
    there.refused(&up, "the same `trialog move` again");
    assert!(Path::new(&there.home.join("d/db/runs.sqlite")).exists(), "nothing was put aside before it was known");
    there.carry(&[]);
    assert!(fs::exists(there.home.join("d/db/moved/runs.sqlite")).expect("a folder"));

    let mut server = Server::start(there.moved());
    let client = server.client();
    seen.extend((seen.len()..TRIALS).map(|_| ask_and_tell(&client, "told")));
    assert_eq!(asked_parameters(&client, "told"), seen);
    client.assert_verified("sweeps/told");
    server.stop();
}
