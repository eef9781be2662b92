//! Random workers on one external sweep, some of whom fall silent: a trial never has two attempts that may speak, and
//! every acknowledged tell counts once.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use vocabulary::{Decider, StoredEvent};

use super::Story;
use super::external::external;
use crate::audit::{Audit, verification};
use crate::sweep::{Command, PauseMode, Sweep, SweepEvent, TellContent, TrialEnd};

#[derive(Clone, Debug)]
enum Step {
    Ask(u128),
    /// Which of all offers so far, stale ones too; the value in tenths; whether it is the last one.
    Tell(usize, i32, bool),
    Fail(usize),
    Beat(usize),
    Wait(i64),
    Pause,
    Resume,
    Cancel,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_u128..4).prop_map(Step::Ask),
        12 => (any::<usize>(), -9_i32..9, any::<bool>()).prop_map(|(offer, value, end)| Step::Tell(offer, value, end)),
        1 => any::<usize>().prop_map(Step::Fail),
        3 => any::<usize>().prop_map(Step::Beat),
        5 => (0_i64..80).prop_map(Step::Wait),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        1 => prop_oneof![9 => Just(Step::Resume), 1 => Just(Step::Cancel)],
    ]
}

/// The workers, and what they were told is so.
struct Workers {
    story: Story,
    /// All offers so far: trial and attempt.
    offers: Vec<(u32, u32)>,
    /// Acknowledged points of each trial. An attempt that goes on where the last one ended supersedes none.
    told: BTreeMap<u32, u32>,
    /// The final tell that has ended a trial: attempt and tenths.
    ended_by: BTreeMap<u32, (u32, i32)>,
}

impl Workers {
    fn pick(&self, offer: usize) -> Option<(u32, u32)> {
        self.offers.get(offer % self.offers.len().max(1)).copied()
    }

    fn ask(&mut self, count: u128) -> Result<(), TestCaseError> {
        let (before, at) = (self.story.sweep.clone(), self.story.now);
        for (trial, attempt) in self.story.asks(count) {
            prop_assert!(!self.offers.contains(&(trial, attempt)), "offered twice");
            if let Some(known) = before.trials.get(trial as usize) {
                // Only what nobody has been heard of for a whole lease is given to somebody else, or what waits.
                let silent = known.lease.as_ref().is_some_and(|lease| lease.expires_at <= at);
                prop_assert!(silent || known.paused.is_some());
            }
            self.offers.push((trial, attempt));
        }
        Ok(())
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let at = self.story.now;
        match *step {
            Step::Ask(count) => self.ask(count)?,
            Step::Tell(offer, tenths, last) => {
                let Some((trial, attempt)) = self.pick(offer) else { return Ok(()) };
                let (known, value) = (&self.story.sweep.trials[trial as usize], f64::from(tenths) / 10.0);
                let counts = last || known.finishing.is_none() || known.has_reached_target();
                let may_speak = attempt == known.attempt() && known.end.is_none() && known.paused.is_none();
                // Whoever got no answer to a final tell says it again: that is no tell of its own.
                let is_repeat = last && known.end.is_some() && self.ended_by.get(&trial) == Some(&(attempt, tenths));
                // Whoever was told to stop, or to wait, may tell the end too.
                let is_over = match &known.end {
                    None => known.paused.is_some(),
                    Some(TrialEnd::Completed { max_resource, .. }) => *max_resource,
                    Some(end) => matches!(end, TrialEnd::EarlyStopped { .. }),
                };
                let says_nothing = is_repeat || (last && is_over && attempt == known.attempt());
                let answer = self.story.says(trial, attempt, TellContent::Value { step: None, value, last });
                prop_assert_eq!(answer.is_ok(), may_speak || says_nothing);
                prop_assert!(!says_nothing || answer.is_ok_and(|events| events.is_empty()));
                *self.told.entry(trial).or_default() += u32::from(may_speak && counts);
                if may_speak && last {
                    self.ended_by.insert(trial, (attempt, tenths));
                }
            }
            Step::Fail(offer) => {
                let Some((trial, attempt)) = self.pick(offer) else { return Ok(()) };
                drop(self.story.says(trial, attempt, TellContent::Failed { reason: String::new() }));
            }
            Step::Beat(offer) => {
                let Some((trial, attempt)) = self.pick(offer) else { return Ok(()) };
                if self.story.beats(trial, attempt).is_ok() {
                    prop_assert_eq!(attempt, self.story.sweep.trials[trial as usize].attempt());
                }
            }
            Step::Wait(seconds) => {
                self.story.wait(seconds);
                let at = self.story.now;
                self.story.when(Command::CheckDeadlines { at }).unwrap();
            }
            Step::Pause => drop(self.story.when(Command::Pause { mode: PauseMode::Drain, at })),
            Step::Resume => drop(self.story.when(Command::Resume { at })),
            Step::Cancel => drop(self.story.when(Command::Cancel { by: "user".into(), at })),
        }
        // What the sweep does by itself.
        let at = self.story.now;
        while self.story.sweep.has_waiting_work() {
            self.story.when(Command::Promote { at }).unwrap();
        }
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let sweep = &self.story.sweep;
        for (trial, told) in &self.told {
            prop_assert_eq!(sweep.curves.interval(*trial), *told, "an acknowledged tell counts once");
        }
        let held = sweep.trials.iter().filter(|trial| trial.lease.is_some()).count();
        prop_assert_eq!((held, sweep.live.len()), (sweep.leases.len(), sweep.leases.len()));
        let unended = sweep.trials.iter().filter(|trial| trial.end.is_none()).count();
        prop_assert_eq!(unended, sweep.live.len() + sweep.paused.len());
        prop_assert!(sweep.live.len() <= 3 && sweep.proposals() <= 7);
        prop_assert!(!(sweep.status.state().is_terminal() && unended > 0), "it ended before its trials");
        Ok(())
    }
}

proptest! {
    #![proptest_config(testkit::properties(192))]

    #[test]
    fn one_attempt_speaks_for_a_trial_and_each_tell_counts_once(
        policy in prop_oneof![
            Just(json!("none")),
            Just(json!({"type": "bandit", "slack_amount": 0.2})),
            Just(json!({"type": "asha", "reduction_factor": 2, "max_resource": 3})),
            Just(json!({"type": "asha", "reduction_factor": 2, "max_resource": 3, "variant": "promotion"})),
            Just(json!({"type": "asha", "reduction_factor": 3, "max_resource": 9, "variant": "promotion"})),
        ],
        target in prop_oneof![2 => Just(2.0), 1 => Just(0.7)],
        steps in vec(step(), 1..100),
    ) {
        let limits = json!({
            "max_total_trials": 7, "max_concurrent_trials": 3, "max_failed_trials": 4, "timeout_seconds": 900,
        });
        let objective = json!({"goal": "maximize", "primary_metric": "val_acc", "target": target});
        let story = external(json!({"early_termination": policy, "limits": limits, "objective": objective}));
        let mut workers = Workers { story, offers: Vec::new(), told: BTreeMap::new(), ended_by: BTreeMap::new() };
        for step in &steps {
            workers.take(step)?;
            workers.check()?;
        }
        let (mut replayed, mut audit) = (Sweep::default(), Audit::new(None));
        for event in super::random::stored(&workers.story) {
            let decoded = SweepEvent::decode(&event.kind, event.schema, &event.data).unwrap();
            replayed.evolve(&decoded);
            audit.take(&event, &decoded);
        }
        audit.settle();
        prop_assert_eq!(&replayed, &workers.story.sweep);
        prop_assert_eq!(verification(&audit)["differences"].as_array().unwrap().len(), 0);
    }
}
