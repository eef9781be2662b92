//! Batches of metric points, each with its writer's sequence: sent again, with the same Idempotency-Key or another one,
//! until they are acknowledged.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use runtime::Stopwatch;
use serde_json::{Value, json};
use trialog_testkit::history::{Batch, BatchCall, Checked, Completion, Fault, Recorder, check_batches};
use trialog_testkit::{Answer, Sent};

use super::books::Current;
use super::caller::{Caller, PATIENCE};

/// Points of a batch.
const POINTS: u64 = 3;
/// Steps of a batch, of which the first are used, and of a writer.
const STEPS: u64 = 10;
const STEPS_OF_WRITER: u64 = 100_000;
/// How long one Idempotency-Key is tried.
const TRY: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Batches {
    current: Current,
    book: Recorder<BatchCall, Vec<Batch>>,
    /// The last sequence of each writer on each key; `None` when nobody knows whether it was taken.
    written: Mutex<BTreeMap<(usize, String), Option<u64>>>,
}

fn step(batch: Batch, point: u64) -> u64 {
    batch.writer as u64 * STEPS_OF_WRITER + batch.sequence * STEPS + point
}

/// The batches that points belong to, each as often as its points are there.
fn batches_of(answer: Answer) -> Vec<Batch> {
    let answer = answer.expect(200);
    assert!(answer["next_page_token"].as_str().unwrap_or_default().is_empty(), "one page has them all");
    let mut points: BTreeMap<Batch, [usize; POINTS as usize]> = BTreeMap::new();
    for point in answer["points"].as_array().into_iter().flatten() {
        let at = point["step"].as_u64().expect("a step");
        assert_eq!(point["value"].as_f64().map(f64::to_bits), Some((at as f64 * 0.1).to_bits()), "{point}");
        let (writer, rest) = (at / STEPS_OF_WRITER, at % STEPS_OF_WRITER);
        let batch = Batch { writer: writer as usize, sequence: rest / STEPS };
        points.entry(batch).or_default()[(rest % STEPS) as usize] += 1;
    }
    let often = |(batch, counts): (Batch, [usize; POINTS as usize])| {
        assert!(counts.iter().all(|count| *count == counts[0]), "a torn batch: {batch:?}, its points {counts:?}");
        std::iter::repeat_n(batch, counts[0])
    };
    points.into_iter().flat_map(often).collect()
}

impl Batches {
    fn make(&self, caller: &Caller) -> Option<String> {
        let asked = caller.client.request("POST", "runs").json(&json!({"name": "points"}));
        let Sent::Answered(made) = asked.send_within(PATIENCE) else { return None };
        Some(format!("runs/{}", made.expect(201)["run_id"].as_str().expect("an id")))
    }

    pub fn turn(&self, caller: &mut Caller) {
        let Some(key) = self.current.take(|| self.make(caller)) else { return };
        if caller.random.below(3) == 0 {
            self.read(caller, &key);
        } else {
            self.write(caller, &key);
        }
    }

    fn write(&self, caller: &mut Caller, key: &str) {
        let place = (caller.who, key.to_owned());
        let last = self.written.lock().expect("nobody panics here").get(&place).copied().unwrap_or(Some(0));
        let Some(last) = last else { return };
        let batch = Batch { writer: caller.who, sequence: last + 1 };
        let point = |point| {
            let step = step(batch, point);
            json!({"name": "loss", "step": step, "value": step as f64 * 0.1})
        };
        let metrics: Vec<Value> = (0..POINTS).map(point).collect();
        let body = json!({"writer": format!("w{}", batch.writer), "sequence": batch.sequence, "metrics": metrics});
        let invocation = self.book.invoke(caller.who, key, BatchCall::Write(batch));
        let (client, path, watch) = (caller.client.clone(), format!("{key}/metrics"), Stopwatch::start());
        let mut request = client.request("POST", &path).json(&body);
        let written = loop {
            match request.send_within(TRY) {
                Sent::Answered(answer) => {
                    answer.expect(200);
                    self.book.complete(invocation, Completion::Answered(Vec::new()));
                    break Some(batch.sequence);
                }
                _ if watch.elapsed() > PATIENCE => break None,
                // Without its key the sequence alone says that it is the same batch.
                _ if caller.random.below(2) == 0 => request = client.request("POST", &path).json(&body),
                _ => {}
            }
        };
        self.written.lock().expect("nobody panics here").insert(place, written);
    }

    fn read(&self, caller: &mut Caller, key: &str) -> bool {
        let client = caller.client.clone();
        let invocation = self.book.invoke(caller.who, key, BatchCall::Read);
        let request = client.request("GET", &format!("{key}/metrics/loss?page_size=1000"));
        let Sent::Answered(answer) = caller.send(&request) else { return false };
        self.book.complete(invocation, Completion::Answered(batches_of(answer)));
        true
    }

    pub fn read_everything(&self, caller: &mut Caller) {
        for key in self.current.all() {
            assert!((0..9).any(|_| self.read(caller, &key)), "{key} cannot be read");
        }
    }

    pub fn check(self) -> Result<Checked, Fault> {
        check_batches(&self.book.operations())
    }
}
