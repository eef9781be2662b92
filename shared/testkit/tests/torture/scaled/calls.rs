//! Clients that call all the time, and know what they were told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, OnceLock};
use std::thread::Scope;
use std::time::Duration;

use serde_json::json;
use trialog_testkit::invariants::{Acknowledged, Installation, ReadBack};
use trialog_testkit::{Answer, Client};
use vocabulary::RunId;

use crate::writer::{self, Written};

/// Between two rounds: the killing and not the calling fills the time.
const PAUSE: Duration = Duration::from_millis(30);
const MODEL: &str = "models/described";
const SWEEP: &str = "sweeps/asked";

/// What runs beside the sweep: a writer of points, somebody who describes a model and reads that again, and a worker of
/// an external sweep.
#[derive(Default)]
pub struct Calls {
    under_way: Mutex<Counts>,
    /// One more is under way.
    begun: Condvar,
    acknowledged: Mutex<Vec<Acknowledged>>,
    reads: Mutex<Vec<ReadBack>>,
    written: OnceLock<Written>,
}

/// How many calls to each service are under way.
#[derive(Default)]
struct Counts {
    runs: usize,
    models: usize,
    sweeps: usize,
}

impl Counts {
    fn of(&mut self, callee: Callee) -> &mut usize {
        match callee {
            Callee::Runs => &mut self.runs,
            Callee::Models => &mut self.models,
            Callee::Sweeps => &mut self.sweeps,
        }
    }

    /// Whether a client waits for an answer of the service; through the gateway all of them do.
    fn has(&self, service: &str) -> bool {
        let counts = [("runs", self.runs), ("models", self.models), ("sweeps", self.sweeps)];
        counts.into_iter().any(|(name, count)| count > 0 && (name == service || service == "gateway"))
    }
}

/// Which service a call is for.
#[derive(Clone, Copy)]
enum Callee {
    Runs,
    Models,
    Sweeps,
}

/// A call that is under way while this lives.
struct UnderWay<'a> {
    calls: &'a Calls,
    callee: Callee,
}

impl<'a> UnderWay<'a> {
    fn new(calls: &'a Calls, callee: Callee) -> Self {
        *calls.under_way.lock().expect("nobody panics here").of(callee) += 1;
        calls.begun.notify_all();
        Self { calls, callee }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        *self.calls.under_way.lock().expect("nobody panics here").of(self.callee) -= 1;
    }
}

impl Calls {
    pub fn begin(client: &Client) -> Self {
        let run = client.post("runs", &json!({"name": "a model"})).expect(201);
        let run = run["run_id"].as_str().expect("an id").to_owned();
        let put = client.request("PUT", &format!("runs/{run}/artifacts/outputs/model/score.py"));
        put.body("application/octet-stream", "def init(): pass\ndef run(raw): return raw\n").send().expect(201);
        let version = json!({"run_id": run, "artifact_path": "outputs/model"});
        client.post(&format!("{MODEL}/versions"), &version).expect(201);
        let sweep = json!({
            "name": "asked", "mode": "external",
            "objective": {"goal": "minimize", "primary_metric": "loss"},
            "search_space": {"x": {"type": "uniform", "min_value": 0, "max_value": 1}},
            "sampling_algorithm": {"type": "random", "seed": 5},
            "limits": {"max_total_trials": 50_000, "max_concurrent_trials": 2},
            "early_termination": {"type": "median_stopping", "evaluation_interval": 1, "delay_evaluation": 0}
        });
        client.post("sweeps", &sweep).expect(201);
        Self::default()
    }

    pub fn spawn<'s>(&'s self, scope: &'s Scope<'s, '_>, client: &Client, done: &'s AtomicBool) {
        let [points, model, asked] = [client, client, client].map(Client::clone);
        scope.spawn(move || {
            let written = writer::write_under(&points, done, || UnderWay::new(self, Callee::Runs));
            assert!(self.written.set(written).is_ok(), "there is one writer");
        });
        scope.spawn(move || (1..).take_while(|_| !done.load(Ordering::SeqCst)).for_each(|n| self.describe(&model, n)));
        scope.spawn(move || (1..).take_while(|_| !done.load(Ordering::SeqCst)).for_each(|n| self.ask(&asked, n)));
    }

    /// Waits until a client waits for an answer of the service; false when none does within `patience`.
    pub fn await_under_way(&self, service: &str, patience: Duration) -> bool {
        let counts = self.under_way.lock().expect("nobody panics here");
        let waited = self.begun.wait_timeout_while(counts, patience, |counts| !counts.has(service));
        !waited.expect("nobody panics here").1.timed_out()
    }

    fn acknowledge(&self, answer: &Answer, content: String) -> String {
        let header = answer.header("trialog-position").to_owned();
        let (service, position) = header.split_once('=').unwrap_or_else(|| panic!("no position: {}", answer.text()));
        let (service, position) = (service.to_owned(), position.parse().expect("a number"));
        self.acknowledged.lock().expect("nobody panics here").push(Acknowledged { service, position, content });
        header
    }

    fn describe(&self, client: &Client, number: u64) {
        let content = format!("description number {number} of the model");
        let under_way = UnderWay::new(self, Callee::Models);
        let answer = client.patch(MODEL, &json!({"description": content}));
        drop(under_way);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let position = self.acknowledge(&answer, content);
        let read = client.request("GET", MODEL).header("Trialog-At-Least", &position).send();
        let read = ReadBack { wanted: version_of(&answer), seen: version_of(&read) };
        self.reads.lock().expect("nobody panics here").push(read);
        std::thread::sleep(PAUSE);
    }

    fn ask(&self, client: &Client, number: u64) {
        let under_way = UnderWay::new(self, Callee::Sweeps);
        let asked = client.post(&format!("{SWEEP}/trials:ask"), &json!({"count": 1})).expect(200);
        drop(under_way);
        let Some(trial) = asked["trials"].as_array().and_then(|trials| trials.first()) else { return };
        // Half of them are worse than those before: a policy has something to stop.
        let value = if number.is_multiple_of(2) { number as f64 } else { 1.0 / number as f64 };
        let path = format!("{SWEEP}/trials/{}:tell", trial["index"]);
        let under_way = UnderWay::new(self, Callee::Sweeps);
        let told = client.post(&path, &json!({"attempt": trial["attempt"], "step": 1, "value": value}));
        if told.clone().expect(200)["stop"] == false {
            client.post(&path, &json!({"attempt": trial["attempt"], "value": value, "final": true})).expect(200);
        }
        drop(under_way);
        self.acknowledge(&told, format!("\"trial\":{}", trial["index"]));
        std::thread::sleep(PAUSE);
    }

    /// What the clients know.
    pub fn end(self, client: &Client, found: &mut Installation) {
        let written = self.written.into_inner().expect("the writer has ended");
        written.check(client);
        let run = RunId::parse(written.run()).expect("an id").hex();
        let batches = i64::try_from(written.batches()).expect("not so many");
        found.batches.extend((1..=batches).map(|sequence| (run.clone(), writer::NAME.to_owned(), sequence)));
        let bits = |(step, value): (i64, f64)| (step, value.to_bits());
        found.acknowledged_points = written.points.clone().into_iter().map(bits).collect();
        found.stored_points = written.stored(client);
        found.acknowledged = self.acknowledged.into_inner().expect("nobody panics here");
        found.reads = self.reads.into_inner().expect("nobody panics here");
        eprintln!(
            "scaled torture: acknowledged: {batches} batches, {} changes; {} reads of them",
            found.acknowledged.len(),
            found.reads.len()
        );
    }
}

fn version_of(answer: &Answer) -> i64 {
    let version = answer.header("etag").strip_prefix("\"v").and_then(|rest| rest.strip_suffix('"'));
    version.and_then(|version| version.parse().ok()).unwrap_or_else(|| panic!("no ETag: {}", answer.text()))
}
