//! A sweep whose trials the clients run themselves. They hold several at once for longer than their leases last, so
//! that trials are offered again while the one before still speaks.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use trialog_testkit::history::{
    CONFIGURATIONS_MAX, Checked, Completion, Fault, Lease, LeaseAnswer, LeaseCall, LeaseState, Operation, Recorder,
    check,
};
use trialog_testkit::{Answer, Client, Sent};

use super::caller::Caller;

const SWEEP: &str = "sweeps/held";
/// How long a lease lasts: shorter than a fault.
const LEASE_SECONDS: f64 = 1.0;
/// Trials that a client holds at most.
const HELD_MAX: usize = 3;
/// Trials that all of them hold at most: fewer than they want.
const LIVE_MAX: u64 = 16;
/// The key of an ask while nobody knows which trial it was for.
const ANY: &str = "";

type Held = Vec<(u32, u32)>;

pub struct Leases {
    book: Recorder<LeaseCall, LeaseAnswer>,
    /// Trials and attempts by client, as it believes.
    held: Mutex<BTreeMap<usize, Held>>,
    values: AtomicU64,
}

fn key_of(index: u32) -> String {
    format!("trial {index}")
}

impl Leases {
    pub fn begin(client: &Client, seed: u64) -> Self {
        let sweep = json!({
            "name": "held", "mode": "external",
            "objective": {"goal": "minimize", "primary_metric": "loss"},
            "search_space": {"x": {"type": "uniform", "min_value": 0, "max_value": 1}},
            "sampling_algorithm": {"type": "random", "seed": seed % 1_000},
            "limits": {"max_total_trials": 50_000, "max_concurrent_trials": LIVE_MAX},
        });
        client.post("sweeps", &sweep).expect(201);
        Self { book: Recorder::default(), held: Mutex::default(), values: AtomicU64::new(1) }
    }

    fn held<T>(&self, who: usize, work: impl FnOnce(&mut Held) -> T) -> T {
        work(self.held.lock().expect("nobody panics here").entry(who).or_default())
    }

    pub fn turn(&self, caller: &mut Caller) {
        let held = self.held(caller.who, |held| held.clone());
        let picked = caller.random.pick(&held).copied();
        match (picked, caller.random.below(8)) {
            (None, _) => self.ask(caller),
            (Some(_), 0..3) if held.len() < HELD_MAX => self.ask(caller),
            (Some((index, _)), 3) => drop(self.read(caller, index)),
            (Some((index, attempt)), 4 | 5) => self.heartbeat(caller, index, attempt),
            (Some((index, attempt)), _) => self.tell(caller, index, attempt),
        }
    }

    fn ask(&self, caller: &mut Caller) {
        let client = caller.client.clone();
        let worker = format!("client {}", caller.who);
        let body = json!({"count": 1, "worker": worker, "lease_seconds": LEASE_SECONDS});
        let invocation = self.book.invoke(caller.who, ANY, LeaseCall::Ask);
        match caller.send(&client.request("POST", &format!("{SWEEP}/trials:ask")).json(&body)) {
            Sent::Unknown => {}
            Sent::Nothing => self.book.complete(invocation, Completion::Failed),
            Sent::Answered(answer) => {
                let answer = answer.expect(200);
                // None is free: that is about no trial.
                let Some(trial) = answer["trials"].as_array().and_then(|trials| trials.first()) else {
                    return self.book.complete(invocation, Completion::Failed);
                };
                let (index, attempt) = (number(&trial["index"]), number(&trial["attempt"]));
                let offered = Completion::Answered(LeaseAnswer::Offered { attempt });
                self.book.complete_as(invocation, &key_of(index), LeaseCall::Ask, offered);
                self.held(caller.who, |held| held.push((index, attempt)));
            }
        }
    }

    fn heartbeat(&self, caller: &mut Caller, index: u32, attempt: u32) {
        let call = LeaseCall::Heartbeat { attempt };
        self.speak(caller, (index, attempt), call, "heartbeat", &json!({"attempt": attempt}));
    }

    fn tell(&self, caller: &mut Caller, index: u32, attempt: u32) {
        let value = self.values.fetch_add(1, Ordering::SeqCst);
        let call = LeaseCall::Tell { attempt, value, last: true };
        let body = json!({"attempt": attempt, "value": value, "final": true});
        self.speak(caller, (index, attempt), call, "tell", &body);
    }

    fn speak(&self, caller: &mut Caller, (index, attempt): (u32, u32), call: LeaseCall, verb: &str, body: &Value) {
        let client = caller.client.clone();
        let is_last = matches!(call, LeaseCall::Tell { .. });
        let invocation = self.book.invoke(caller.who, &key_of(index), call);
        let answer = match caller.send(&client.request("POST", &format!("{SWEEP}/trials/{index}:{verb}")).json(body)) {
            Sent::Unknown => return,
            Sent::Nothing => return self.book.complete(invocation, Completion::Failed),
            Sent::Answered(answer) => answer,
        };
        let answer = match (answer.status, answer.code().as_str()) {
            (200, _) => LeaseAnswer::Taken,
            (409, "StaleAttempt") => LeaseAnswer::Stale { current: number(&answer.json()["current_attempt"]) },
            (409, "RunTerminal") => LeaseAnswer::Ended,
            _ => panic!("trial {index}, attempt {attempt}: {}", answer.text()),
        };
        if is_last || answer != LeaseAnswer::Taken {
            self.held(caller.who, |held| held.retain(|one| *one != (index, attempt)));
        }
        self.book.complete(invocation, Completion::Answered(answer));
    }

    /// Whether it was answered.
    fn read(&self, caller: &mut Caller, index: u32) -> bool {
        let client = caller.client.clone();
        let invocation = self.book.invoke(caller.who, &key_of(index), LeaseCall::Read);
        let Sent::Answered(answer) = caller.send(&client.request("GET", &format!("{SWEEP}/trials/{index}"))) else {
            return false;
        };
        self.book.complete(invocation, Completion::Answered(LeaseAnswer::Found(found(answer))));
        true
    }

    pub fn read_everything(&self, caller: &mut Caller) {
        let trials = caller.client.list(&format!("{SWEEP}/trials"), "trials").len();
        for index in 0..u32::try_from(trials).expect("not so many") {
            assert!((0..9).any(|_| self.read(caller, index)), "trial {index} cannot be read");
        }
    }

    /// An ask of which nobody knows may have been for any trial.
    pub fn check(self) -> Result<Checked, Fault> {
        let (lost, mut history): (Vec<_>, Vec<_>) =
            self.book.operations().into_iter().filter(|one| !one.has_failed()).partition(|one| one.key == ANY);
        let mut keys: BTreeMap<String, u64> = BTreeMap::new();
        for operation in &history {
            let last = keys.entry(operation.key.clone()).or_default();
            *last = (*last).max(operation.invoked);
        }
        for (key, last) in keys {
            let may_be = lost.iter().filter(|one| one.invoked < last);
            history.extend(may_be.map(|one: &Operation<_, _>| Operation { key: key.clone(), ..one.clone() }));
        }
        history.sort_by_key(|operation| operation.invoked);
        let checked = check(&Lease, &history, CONFIGURATIONS_MAX)?;
        // Each of them is one operation, wherever it may have belonged.
        let copies = history.iter().filter(|one| one.call == LeaseCall::Ask && one.answer().is_none()).count();
        let (operations, unknown) = (checked.operations - copies + lost.len(), checked.unknown - copies + lost.len());
        Ok(Checked { operations, unknown, ..checked })
    }
}

fn found(answer: Answer) -> LeaseState {
    let trial = answer.expect(200);
    let ended = (trial["state"] == "Completed").then(|| trial["last_value"].as_f64().expect("a value") as u64);
    LeaseState { attempt: number(&trial["attempt"]), ended }
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| number.try_into().ok()).unwrap_or_else(|| panic!("no number: {value}"))
}
