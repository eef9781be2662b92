//! Random workers on one external sweep, some of whom fall silent: a trial never has two attempts that may speak, and
//! every acknowledged tell counts once.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use vocabulary::{Decider, StoredEvent};

use super::external::external;
use crate::audit::{Audit, verification};
use crate::sweep::{Command, Saying, Sweep, SweepEvent};

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
        12 => (any::<usize>(), -9_i32..9, any::<bool>()).prop_map(|(offer, value, last)| Step::Tell(offer, value, last)),
        1 => any::<usize>().prop_map(Step::Fail),
        3 => any::<usize>().prop_map(Step::Beat),
        5 => (0_i64..80).prop_map(Step::Wait),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        1 => prop_oneof![9 => Just(Step::Resume), 1 => Just(Step::Cancel)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_attempt_speaks_for_a_trial_and_each_tell_counts_once(
        stops in any::<bool>(),
        steps in vec(step(), 1..100),
    ) {
        let policy = if stops { json!({"type": "bandit", "slack_amount": 0.2}) } else { json!("none") };
        let mut story = external(json!({
            "early_termination": policy,
            "limits": {"max_total_trials": 7, "max_concurrent_trials": 3, "max_failed_trials": 4, "timeout_seconds": 900},
        }));
        let mut offers: Vec<(u32, u32)> = Vec::new();
        // Acknowledged points of the attempt that holds a trial; a new attempt goes on where they end.
        let mut told: BTreeMap<u32, u32> = BTreeMap::new();
        for step in steps {
            let pick = |offer: usize| offers.get(offer % offers.len().max(1)).copied();
            let at = story.now;
            match step {
                Step::Ask(count) => {
                    let before = story.sweep.clone();
                    for (trial, attempt) in story.asks(count) {
                        prop_assert!(!offers.contains(&(trial, attempt)), "offered twice");
                        if let Some(known) = before.trials.get(trial as usize) {
                            // Only what nobody has been heard of for a whole lease is given to somebody else.
                            prop_assert!(known.lease.as_ref().unwrap().expires_at <= at);
                        }
                        offers.push((trial, attempt));
                    }
                }
                Step::Tell(offer, tenths, last) => {
                    let Some((trial, attempt)) = pick(offer) else { continue };
                    let value = f64::from(tenths) / 10.0;
                    let current = story.sweep.trials[trial as usize].attempt();
                    let over = story.sweep.trials[trial as usize].end.is_some();
                    let answer = story.says(trial, attempt, Saying::Value { step: None, value, last });
                    prop_assert_eq!(answer.is_ok(), attempt == current && !over);
                    *told.entry(trial).or_default() += u32::from(answer.is_ok());
                }
                Step::Fail(offer) => {
                    let Some((trial, attempt)) = pick(offer) else { continue };
                    drop(story.says(trial, attempt, Saying::Failed { reason: String::new() }));
                }
                Step::Beat(offer) => {
                    let Some((trial, attempt)) = pick(offer) else { continue };
                    if story.beats(trial, attempt).is_ok() {
                        prop_assert_eq!(attempt, story.sweep.trials[trial as usize].attempt());
                    }
                }
                Step::Wait(seconds) => {
                    story.wait(seconds);
                    let at = story.now;
                    story.when(Command::CheckDeadlines { at }).unwrap();
                }
                Step::Pause => drop(story.when(Command::Pause { at })),
                Step::Resume => drop(story.when(Command::Resume { at })),
                Step::Cancel => drop(story.when(Command::Cancel { by: "user".into(), at })),
            }
            let sweep = &story.sweep;
            for (trial, told) in &told {
                prop_assert_eq!(sweep.curves.interval(*trial), *told, "an acknowledged tell counts once");
            }
            let held = sweep.trials.iter().filter(|trial| trial.lease.is_some()).count();
            prop_assert_eq!((held, sweep.live.len()), (sweep.leases.len(), sweep.leases.len()));
            prop_assert!(sweep.live.len() <= 3 && sweep.proposals() <= 7);
            prop_assert!(!(sweep.status.state().is_terminal() && held > 0), "it ended before its trials");
        }
        let (mut replayed, mut audit) = (Sweep::default(), Audit::new(None));
        for event in super::random::stored(&story) {
            let decoded = SweepEvent::decode(&event.kind, event.schema, &event.data).unwrap();
            replayed.evolve(&decoded);
            audit.take(&event, &decoded);
        }
        audit.settle();
        prop_assert_eq!(&replayed, &story.sweep);
        prop_assert_eq!(verification(&audit)["differences"].as_array().unwrap().len(), 0);
    }
}
