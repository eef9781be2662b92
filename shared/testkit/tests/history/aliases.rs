//! Aliases of models: pointed to one of a few versions, under the model's ETag or without.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use trialog_testkit::history::{
    Alias, CONFIGURATIONS_MAX, Checked, Completion, Fault, Recorder, RegisterAnswer, RegisterCall, RegisterState, check,
};
use trialog_testkit::{Answer, Client, Sent};

use super::books::Current;
use super::caller::{Caller, PATIENCE};
use super::streams::version_of;

/// Versions of each model.
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

/// A model of its own, and its path; `None` when that does not succeed: the name is given up then.
pub fn make_model(caller: &Caller, name: &str, artifacts: &str, versions: u64) -> Option<String> {
    for _ in 0..versions {
        let body = json!({"run_id": artifacts, "artifact_path": "outputs/model"});
        let asked = caller.client.request("POST", &format!("models/{name}/versions")).json(&body);
        let Sent::Answered(made) = asked.send_within(PATIENCE) else { return None };
        made.expect(201);
    }
    Some(format!("models/{name}"))
}

pub struct Aliases {
    artifacts: String,
    current: Current,
    book: Recorder<RegisterCall, RegisterAnswer>,
    before: Mutex<BTreeMap<String, RegisterState>>,
    names: AtomicU64,
}

fn state(answer: Answer) -> RegisterState {
    let version = version_of(&answer);
    let value = answer.expect(200)["aliases"]["champion"].as_u64().unwrap_or_default();
    RegisterState { version, value }
}

impl Aliases {
    pub fn new(artifacts: String) -> Self {
        let (book, before) = (Recorder::default(), Mutex::default());
        Self { artifacts, current: Current::default(), book, before, names: AtomicU64::new(1) }
    }

    fn make(&self, caller: &Caller) -> Option<String> {
        let name = format!("alias-{}", self.names.fetch_add(1, Ordering::SeqCst));
        let key = make_model(caller, &name, &self.artifacts, VERSIONS)?;
        let Sent::Answered(first) = caller.client.request("GET", &key).send_within(PATIENCE) else { return None };
        self.before.lock().expect("nobody panics here").insert(key.clone(), state(first));
        Some(key)
    }

    pub fn turn(&self, caller: &mut Caller) {
        let Some(key) = self.current.take(|| self.make(caller)) else { return };
        match caller.random.below(5) {
            0 | 1 => drop(self.read(caller, &key)),
            2 => self.point(caller, &key, None),
            _ => {
                if let Some(seen) = self.read(caller, &key) {
                    caller.pause();
                    self.point(caller, &key, Some(seen));
                }
            }
        }
    }

    fn read(&self, caller: &mut Caller, key: &str) -> Option<u64> {
        let invocation = self.book.invoke(caller.who, key, RegisterCall::Read);
        let client = caller.client.clone();
        let Sent::Answered(answer) = caller.send(&client.request("GET", key)) else { return None };
        let RegisterState { version, value } = state(answer);
        self.book.complete(invocation, Completion::Answered(RegisterAnswer::Found { version, value }));
        Some(version)
    }

    fn point(&self, caller: &mut Caller, key: &str, expected: Option<u64>) {
        let value = 1 + caller.random.below(VERSIONS);
        let client = caller.client.clone();
        let body = json!({"version": value, "reason": "it is the better one"});
        let mut request = client.request("PUT", &format!("{key}/aliases/champion")).json(&body);
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
                assert!([200, 201].contains(&answer.status), "{}", answer.text());
                Completion::Answered(RegisterAnswer::Written { version: None })
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
        check(&Alias { before }, &self.book.operations(), CONFIGURATIONS_MAX)
    }
}
