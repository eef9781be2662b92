//! Streams as versioned registers, read with their ETag and changed under If-Match or without: a tag of a run, which
//! one process writes; the description of a model, which has another one that stands by; and where an alias of a model
//! points, to one of a few versions.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use trialog_testkit::history::{
    CONFIGURATIONS_MAX, Checked, Completion, Fault, Recorder, Register, RegisterAnswer, RegisterCall, RegisterState,
    check,
};
use trialog_testkit::{Answer, Client, Request, Sent};

use super::books::Current;
use super::caller::{Caller, PATIENCE};

/// Versions of a model whose alias is the register.
const VERSIONS: u64 = 3;

/// A run with something to register.
pub fn run_with_artifact(client: &Client) -> String {
    let run =
        client.post("runs", &json!({"name": "a model"})).expect(201)["run_id"].as_str().expect("an id").to_owned();
    let put = client.request("PUT", &format!("runs/{run}/artifacts/outputs/model/score.py"));
    put.body("application/octet-stream", "def init(): pass\ndef run(raw): return raw\n").send().expect(201);
    client.patch(&format!("runs/{run}"), &json!({"state": "Completed"})).expect(200);
    run
}

/// What the register is; a model is made of what a run has.
pub enum Shown {
    Run,
    Model { artifacts: String },
    Alias { artifacts: String },
}

pub struct Registers {
    shown: Shown,
    current: Current,
    book: Recorder<RegisterCall, RegisterAnswer>,
    before: Mutex<BTreeMap<String, RegisterState>>,
    numbers: AtomicU64,
}

impl Registers {
    pub fn new(shown: Shown) -> Self {
        let (book, before) = (Recorder::default(), Mutex::default());
        Self { shown, current: Current::default(), book, before, numbers: AtomicU64::new(1) }
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::SeqCst)
    }

    /// One of its own; `None` when that does not succeed: its name is given up then.
    fn make(&self, caller: &Caller) -> Option<String> {
        let key = match &self.shown {
            Shown::Run => {
                let asked = caller.client.request("POST", "runs").json(&json!({"name": "a register"}));
                let Sent::Answered(made) = asked.send_within(PATIENCE) else { return None };
                format!("runs/{}", made.expect(201)["run_id"].as_str().expect("an id"))
            }
            Shown::Model { artifacts } => self.make_model(caller, "register", artifacts, 1)?,
            Shown::Alias { artifacts } => self.make_model(caller, "alias", artifacts, VERSIONS)?,
        };
        // Nobody else knows it yet.
        let Sent::Answered(first) = caller.client.request("GET", &key).send_within(PATIENCE) else { return None };
        self.before.lock().expect("nobody panics here").insert(key.clone(), self.state(first));
        Some(key)
    }

    fn make_model(&self, caller: &Caller, prefix: &str, artifacts: &str, versions: u64) -> Option<String> {
        let name = format!("{prefix}-{}", self.number());
        for _ in 0..versions {
            let body = json!({"run_id": artifacts, "artifact_path": "outputs/model"});
            let asked = caller.client.request("POST", &format!("models/{name}/versions")).json(&body);
            let Sent::Answered(made) = asked.send_within(PATIENCE) else { return None };
            made.expect(201);
        }
        Some(format!("models/{name}"))
    }

    fn state(&self, answer: Answer) -> RegisterState {
        let version = version_of(&answer);
        let body = answer.expect(200);
        let text = match self.shown {
            Shown::Run => &body["tags"]["value"],
            Shown::Model { .. } => &body["description"],
            Shown::Alias { .. } => {
                let value = body["aliases"]["champion"].as_u64().unwrap_or_default();
                return RegisterState { version, value };
            }
        };
        let value = text.as_str().filter(|text| !text.is_empty()).map_or(0, |text| text.parse().expect("a number"));
        RegisterState { version, value }
    }

    /// What is written next.
    fn value(&self, caller: &mut Caller) -> u64 {
        match self.shown {
            Shown::Alias { .. } => 1 + caller.random.below(VERSIONS),
            _ => self.number(),
        }
    }

    fn change<'c>(&self, client: &'c Client, key: &str, value: u64) -> Request<'c> {
        let body = match self.shown {
            Shown::Run => json!({"tags": {"value": value.to_string()}}),
            Shown::Model { .. } => json!({"description": value.to_string()}),
            Shown::Alias { .. } => {
                let body = json!({"version": value, "reason": "it is the better one"});
                return client.request("PUT", &format!("{key}/aliases/champion")).json(&body);
            }
        };
        client.request("PATCH", key).json(&body)
    }

    /// What the answer to a change says of the version that it made.
    fn written(&self, answer: Answer) -> Option<u64> {
        let is_right = answer.status == 200 || (answer.status == 201 && matches!(self.shown, Shown::Alias { .. }));
        assert!(is_right, "{}: {}", answer.status, answer.text());
        // A run's answer is the one of its own decision, a model's is a look at what is there afterwards.
        matches!(self.shown, Shown::Run).then(|| version_of(&answer))
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
        let value = self.value(caller);
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
            Sent::Answered(answer) => Completion::Answered(RegisterAnswer::Written { version: self.written(answer) }),
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
        let is_changed_by_values_alone = matches!(self.shown, Shown::Alias { .. });
        let register = Register { before, is_changed_by_values_alone };
        check(&register, &self.book.operations(), CONFIGURATIONS_MAX)
    }
}

/// The version in an ETag.
fn version_of(answer: &Answer) -> u64 {
    let version = answer.header("etag").strip_prefix("\"v").and_then(|rest| rest.strip_suffix('"'));
    version.and_then(|version| version.parse().ok()).unwrap_or_else(|| panic!("no ETag: {}", answer.text()))
}
