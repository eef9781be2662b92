//! Streams as versioned registers: a tag of a run, which one process writes, and the description of a model, which has
//! another one that stands by. Read with their ETag, changed under If-Match or without.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use trialog_testkit::history::{
    CONFIGURATIONS_MAX, Checked, Completion, Fault, Recorder, Register, RegisterAnswer, RegisterCall, RegisterState,
    check,
};
use trialog_testkit::{Answer, Client, Request, Sent};

use super::aliases;
use super::books::Current;
use super::caller::{Caller, PATIENCE};

/// What the register is.
pub enum Shown {
    Run,
    Model { artifacts: String },
}

pub struct Streams {
    shown: Shown,
    current: Current,
    book: Recorder<RegisterCall, RegisterAnswer>,
    before: Mutex<BTreeMap<String, RegisterState>>,
    values: AtomicU64,
}

impl Streams {
    pub fn new(shown: Shown) -> Self {
        let (book, before) = (Recorder::default(), Mutex::default());
        Self { shown, current: Current::default(), book, before, values: AtomicU64::new(1) }
    }

    fn make(&self, caller: &Caller) -> Option<String> {
        let key = match &self.shown {
            Shown::Run => {
                let asked = caller.client.request("POST", "runs").json(&json!({"name": "a register"}));
                let Sent::Answered(made) = asked.send_within(PATIENCE) else { return None };
                format!("runs/{}", made.expect(201)["run_id"].as_str().expect("an id"))
            }
            Shown::Model { artifacts } => {
                let number = self.values.fetch_add(1, Ordering::SeqCst);
                aliases::make_model(caller, &format!("register-{number}"), artifacts, 1)?
            }
        };
        // Nobody else knows it yet.
        let Sent::Answered(first) = caller.client.request("GET", &key).send_within(PATIENCE) else { return None };
        self.before.lock().expect("nobody panics here").insert(key.clone(), self.state(first));
        Some(key)
    }

    fn state(&self, answer: Answer) -> RegisterState {
        let version = version_of(&answer);
        let body = answer.expect(200);
        let value = match self.shown {
            Shown::Run => &body["tags"]["value"],
            Shown::Model { .. } => &body["description"],
        };
        let value = value.as_str().filter(|text| !text.is_empty()).map_or(0, |text| text.parse().expect("a number"));
        RegisterState { version, value }
    }

    fn change<'c>(&self, client: &'c Client, key: &str, value: u64) -> Request<'c> {
        let body = match self.shown {
            Shown::Run => json!({"tags": {"value": value.to_string()}}),
            Shown::Model { .. } => json!({"description": value.to_string()}),
        };
        client.request("PATCH", key).json(&body)
    }

    /// Reads, or writes blindly, or reads and then writes under the version that was seen.
    pub fn turn(&self, caller: &mut Caller) {
        let Some(key) = self.current.take(|| self.make(caller)) else { return };
        match caller.random.below(5) {
            0 | 1 => drop(self.read(caller, &key)),
            2 => self.write(caller, &key, None),
            _ => {
                if let Some(seen) = self.read(caller, &key) {
                    caller.pause();
                    self.write(caller, &key, Some(seen));
                }
            }
        }
    }

    /// The version that was seen.
    fn read(&self, caller: &mut Caller, key: &str) -> Option<u64> {
        let invocation = self.book.invoke(caller.who, key, RegisterCall::Read);
        let client = caller.client.clone();
        // A read of unknown outcome says nothing.
        let Sent::Answered(answer) = caller.send(&client.request("GET", key)) else { return None };
        let RegisterState { version, value } = self.state(answer);
        self.book.complete(invocation, Completion::Answered(RegisterAnswer::Found { version, value }));
        Some(version)
    }

    fn write(&self, caller: &mut Caller, key: &str, expected: Option<u64>) {
        let value = self.values.fetch_add(1, Ordering::SeqCst);
        let client = caller.client.clone();
        let mut request = self.change(&client, key, value);
        if let Some(expected) = expected {
            request = request.header("If-Match", &format!("\"v{expected}\""));
        }
        let invocation = self.book.invoke(caller.who, key, RegisterCall::Write { value, expected });
        let completion = match caller.send(&request) {
            Sent::Unknown => return,
            Sent::Nothing => Completion::Failed,
            Sent::Answered(answer) if answer.status == 412 && expected.is_some() => {
                Completion::Answered(RegisterAnswer::Conflict)
            }
            Sent::Answered(answer) => {
                // A run's answer is the one of its own decision, a model's is a look at what is there afterwards.
                let version = Some(version_of(&answer)).filter(|_| matches!(self.shown, Shown::Run));
                answer.expect(200);
                Completion::Answered(RegisterAnswer::Written { version })
            }
        };
        self.book.complete(invocation, completion);
    }

    pub fn read_everything(&self, caller: &mut Caller) {
        for key in self.current.all() {
            assert!((0..9).any(|_| self.read(caller, &key).is_some()), "{key} cannot be read");
        }
    }

    pub fn check(self) -> Result<Checked, Fault> {
        let before = self.before.into_inner().expect("nobody panics here");
        check(&Register { before }, &self.book.operations(), CONFIGURATIONS_MAX)
    }
}

/// The version in an ETag.
pub fn version_of(answer: &Answer) -> u64 {
    let version = answer.header("etag").strip_prefix("\"v").and_then(|rest| rest.strip_suffix('"'));
    version.and_then(|version| version.parse().ok()).unwrap_or_else(|| panic!("no ETag: {}", answer.text()))
}
