//! A client that logs points to a run of its own through all the killing, and knows exactly what was acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::Client;

/// The writer's name.
pub const NAME: &str = "torture";
/// Points of one batch.
const BATCH: i64 = 25;
/// Between two batches, so that the killing and not the writing fills the time.
const PAUSE: Duration = Duration::from_millis(10);

/// What was acknowledged.
pub struct Written {
    run: String,
    /// Value by step.
    pub points: BTreeMap<i64, f64>,
}

/// Writes batches of a run until `done`. A batch is sent again, with the same sequence, until it is acknowledged.
///
/// # Panics
/// When a batch is refused.
pub fn write(client: &Client, done: &AtomicBool) -> Written {
    write_under(client, done, || ())
}

/// The same, with a mark that lives while a batch is under way.
///
/// # Panics
/// When a batch is refused.
pub fn write_under<M>(client: &Client, done: &AtomicBool, under_way: impl Fn() -> M) -> Written {
    let run = client.post("runs", &json!({"name": "written by a client"})).expect(201);
    let run = run["run_id"].as_str().expect("a run's id").to_owned();
    let path = format!("runs/{run}/metrics");
    let mut points = BTreeMap::new();
    for sequence in 1.. {
        if done.load(Ordering::SeqCst) {
            break;
        }
        let steps = (sequence - 1) * BATCH..sequence * BATCH;
        let value = |step: i64| step as f64 * 0.1;
        let metrics: Vec<Value> =
            steps.clone().map(|step| json!({"name": "loss", "value": value(step), "step": step})).collect();
        let batch = json!({"writer": NAME, "sequence": sequence, "metrics": metrics});
        let mark = under_way();
        let reply = client.post(&path, &batch).expect(200);
        drop(mark);
        assert_eq!(reply["accepted"], json!(BATCH), "batch {sequence}: {reply}");
        points.extend(steps.map(|step| (step, value(step))));
        std::thread::sleep(PAUSE);
    }
    Written { run, points }
}

impl Written {
    /// Every acknowledged point is there, once, with its bits; and nothing else is.
    ///
    /// # Panics
    /// When not.
    pub fn check(&self, client: &Client) {
        let stored = client.list(&format!("runs/{}/metrics/loss", self.run), "points");
        let point =
            |point: &Value| (point["step"].as_i64().expect("a step"), point["value"].as_f64().expect("a value"));
        let mut stored: Vec<_> = stored.iter().map(point).collect();
        stored.sort_by_key(|(step, _)| *step);
        let wanted: Vec<_> = self.points.iter().map(|(step, value)| (*step, *value)).collect();
        assert_eq!(stored.len(), wanted.len(), "points of the plain run");
        for (stored, wanted) in stored.iter().zip(&wanted) {
            assert_eq!((stored.0, stored.1.to_bits()), (wanted.0, wanted.1.to_bits()), "points of the plain run");
        }
    }
}

#[cfg(feature = "postgres")]
impl Written {
    /// Its run.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// How many batches were acknowledged.
    pub fn batches(&self) -> usize {
        self.points.len() / BATCH as usize
    }

    /// Step and bits of what is stored.
    pub fn stored(&self, client: &Client) -> Vec<(i64, u64)> {
        let stored = client.list(&format!("runs/{}/metrics/loss", self.run), "points");
        let point = |point: &Value| {
            (point["step"].as_i64().expect("a step"), point["value"].as_f64().expect("a value").to_bits())
        };
        stored.iter().map(point).collect()
    }
}
