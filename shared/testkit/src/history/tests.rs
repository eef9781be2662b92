//! Known good and known bad histories, and random ones.

use proptest::prelude::*;

use super::*;
use crate::Random;

/// Builds a history line by line: who, from when, until when (0: never), what, with which answer.
struct Story<C, A>(Vec<Operation<C, A>>);

impl<C, A> Story<C, A> {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn with(mut self, client: usize, (invoked, end): (u64, u64), call: C, completion: Option<Completion<A>>) -> Self {
        let completed = completion.map(|completion| (end, completion));
        self.0.push(Operation { client, key: "k".to_owned(), call, invoked, completed });
        self
    }
}

type Registered = Story<RegisterCall, RegisterAnswer>;

impl Registered {
    fn read(self, client: usize, time: (u64, u64), version: u64, value: u64) -> Self {
        let answer = Completion::Answered(RegisterAnswer::Found { version, value });
        self.with(client, time, RegisterCall::Read, Some(answer))
    }

    fn write(self, client: usize, time: (u64, u64), value: u64, expected: u64, answer: RegisterAnswer) -> Self {
        let call = RegisterCall::Write { value, expected: Some(expected) };
        self.with(client, time, call, Some(Completion::Answered(answer)))
    }

    fn lost(self, client: usize, invoked: u64, value: u64, expected: Option<u64>) -> Self {
        self.with(client, (invoked, 0), RegisterCall::Write { value, expected }, None)
    }
}

const OK: RegisterAnswer = RegisterAnswer::Written { version: None };

fn as_register(version: u64) -> RegisterAnswer {
    RegisterAnswer::Written { version: Some(version) }
}

fn registered(story: Registered) -> Result<Checked, Fault> {
    check(&Register::default(), &story.0, CONFIGURATIONS_MAX)
}

#[track_caller]
fn is_wrong<T>(checked: Result<T, Fault>, why: &str) {
    match checked {
        Err(Fault::Wrong { key, why: found }) => assert!(key == "k" && found.contains(why), "{found}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was accepted"),
    }
}

#[test]
fn what_overlaps_may_come_in_any_order_that_explains_it() {
    let story = Story::new().write(0, (1, 10), 5, 0, as_register(1)).read(1, (2, 3), 0, 0).read(2, (4, 5), 1, 5);
    let story = story.write(1, (6, 7), 6, 0, RegisterAnswer::Conflict).read(1, (11, 12), 1, 5);
    assert_eq!(registered(story).unwrap().operations, 5);
}

#[test]
fn a_lost_update_is_rejected() {
    let story = Story::new().write(0, (1, 4), 5, 0, OK).write(1, (2, 3), 6, 0, OK);
    is_wrong(registered(story), "explains 1,");
    // A refusal that nothing was in the way of.
    is_wrong(registered(Story::new().write(0, (1, 2), 5, 0, RegisterAnswer::Conflict)), "explains 0,");
}

#[test]
fn a_stale_read_is_rejected() {
    // A holder that was deposed answers from its memory.
    let story = Story::new().write(0, (1, 2), 5, 0, OK).write(0, (3, 4), 6, 1, OK).read(1, (5, 6), 1, 5);
    is_wrong(registered(story), "RegisterState { version: 2, value: 6 }");
}

#[test]
fn reads_do_not_go_back_although_a_write_is_under_way() {
    let story = Story::new().write(0, (1, 10), 5, 0, OK).read(1, (2, 3), 1, 5).read(2, (4, 5), 0, 0);
    is_wrong(registered(story), "explains 2,");
}

#[test]
fn a_doubled_append_is_rejected() {
    let story = Story::new().write(0, (1, 2), 5, 0, OK).read(1, (3, 4), 2, 5);
    is_wrong(registered(story), "Found { version: 2, value: 5 }");
}

#[test]
fn what_was_acknowledged_before_its_commit_and_is_gone_is_rejected() {
    let story = Story::new().write(0, (1, 2), 5, 0, as_register(1)).read(1, (3, 4), 0, 0);
    is_wrong(registered(story), "Found { version: 0, value: 0 }");
}

#[test]
fn a_dirty_read_of_a_failed_write_is_rejected() {
    let call = RegisterCall::Write { value: 5, expected: None };
    let story = Story::new().with(0, (1, 2), call, Some(Completion::Failed)).read(1, (3, 4), 1, 5);
    is_wrong(registered(story), "its 1 operations");
}

#[test]
fn an_unknown_outcome_may_take_effect_late_or_never_but_not_twice() {
    let lost = || Story::new().lost(0, 1, 5, None).read(1, (2, 3), 0, 0);
    assert_eq!(registered(lost()).unwrap().unknown, 1);
    let late = lost().write(1, (4, 5), 6, 0, OK).read(1, (6, 7), 2, 5);
    registered(late).unwrap();
    let twice = lost().read(1, (4, 5), 1, 5).write(1, (6, 7), 6, 1, OK).read(1, (8, 9), 3, 5);
    is_wrong(registered(twice), "nobody knows");
    // Not before it was asked for.
    let early = Story::new().read(1, (1, 2), 1, 5).lost(0, 3, 5, None);
    is_wrong(registered(early), "explains 0,");
    // Its expected version holds for it too.
    let unfit = Story::new().lost(0, 1, 5, Some(7)).read(1, (2, 3), 1, 5);
    is_wrong(registered(unfit), "explains 0,");
}

#[test]
fn a_search_that_is_given_up_is_no_pass() {
    // Blind writes of unknown outcome in any order, and a read that none of them explains.
    let story = (1..=20).fold(Story::new(), |story, value| story.lost(0, value, value, None));
    let story = story.read(1, (30, 31), 20, 99);
    let checked = check(&Register::default(), &story.0, 2_000);
    assert!(matches!(&checked, Err(Fault::Undecided { configurations: 2_001, .. })), "{checked:?}");
    assert!(checked.unwrap_err().to_string().contains("no pass"));
}

#[test]
fn keys_are_checked_by_themselves() {
    let mut story = Story::new().write(0, (1, 2), 5, 0, OK).read(0, (5, 6), 1, 5);
    let other = Story::new().write(1, (3, 4), 6, 0, OK).read(1, (7, 8), 1, 6);
    story.0.extend(other.0.into_iter().map(|one| Operation { key: "other".to_owned(), ..one }));
    let checked = registered(story).unwrap();
    assert_eq!((checked.keys, checked.operations), (2, 4));
}

#[test]
fn an_alias_that_points_there_already_makes_no_version() {
    let before = RegisterState { version: 3, value: 0 };
    let model = Register { before: [("k".to_owned(), before)].into(), is_changed_by_values_alone: true };
    let alias = |story: Registered| check(&model, &story.0, CONFIGURATIONS_MAX);
    let first = || Story::new().write(0, (1, 2), 7, 3, OK);
    alias(first().write(1, (3, 4), 7, 4, OK).read(0, (5, 6), 4, 7).write(1, (7, 8), 8, 4, as_register(5))).unwrap();
    is_wrong(alias(first().write(1, (3, 4), 7, 4, OK).read(0, (5, 6), 5, 7)), "explains 2,");
    is_wrong(alias(first().write(1, (3, 4), 7, 3, OK)), "explains 1,");
}

type Leased = Story<LeaseCall, LeaseAnswer>;

fn leased(story: Leased) -> Result<Checked, Fault> {
    check(&Lease, &story.0, CONFIGURATIONS_MAX)
}

impl Leased {
    fn ask(self, client: usize, time: (u64, u64), attempt: u32) -> Self {
        self.with(client, time, LeaseCall::Ask, Some(Completion::Answered(LeaseAnswer::Offered { attempt })))
    }

    fn tell(self, client: usize, time: (u64, u64), attempt: u32, last: bool, answer: LeaseAnswer) -> Self {
        let call = LeaseCall::Tell { attempt, value: client as u64, last };
        self.with(client, time, call, Some(Completion::Answered(answer)))
    }
}

#[test]
fn an_attempt_is_offered_once_and_heard_until_the_next_one() {
    let stale = LeaseAnswer::Stale { current: 2 };
    let good = || Story::new().ask(0, (1, 2), 1).tell(0, (3, 4), 1, false, LeaseAnswer::Taken).ask(1, (5, 6), 2);
    let ends = good().tell(0, (7, 8), 1, true, stale).tell(1, (9, 10), 2, true, LeaseAnswer::Taken);
    let found = LeaseAnswer::Found(LeaseState { attempt: 2, ended: Some(1) });
    let read = Some(Completion::Answered(found));
    leased(ends.tell(1, (11, 12), 2, false, LeaseAnswer::Ended).with(3, (13, 14), LeaseCall::Read, read)).unwrap();
    is_wrong(leased(Story::new().ask(0, (1, 2), 1).ask(1, (3, 4), 1)), "explains 1,");
    // The one before is heard after the next one was offered.
    is_wrong(leased(good().tell(0, (7, 8), 1, true, LeaseAnswer::Taken)), "explains 3,");
    // A trial that has ended is offered again.
    is_wrong(leased(good().tell(1, (7, 8), 2, true, LeaseAnswer::Taken).ask(2, (9, 10), 3)), "explains 4,");
    // Who holds it is refused.
    is_wrong(leased(good().tell(1, (7, 8), 2, true, LeaseAnswer::Stale { current: 3 })), "explains 3,");
    // An ask whose answer was lost may have been for this trial.
    leased(Story::new().ask(0, (1, 2), 1).with(1, (3, 0), LeaseCall::Ask, None).ask(2, (5, 6), 3)).unwrap();
}

type Written = Story<BatchCall, Vec<Batch>>;

impl Written {
    fn batch(self, writer: usize, time: (u64, u64), sequence: u64, completion: Option<Completion<Vec<Batch>>>) -> Self {
        self.with(writer, time, BatchCall::Write(Batch { writer, sequence }), completion)
    }

    fn acknowledged(self, writer: usize, time: (u64, u64), sequence: u64) -> Self {
        self.batch(writer, time, sequence, Some(Completion::Answered(Vec::new())))
    }

    fn found(self, time: (u64, u64), batches: &[(usize, u64)]) -> Self {
        let found = batches.iter().map(|(writer, sequence)| Batch { writer: *writer, sequence: *sequence }).collect();
        self.with(9, time, BatchCall::Read, Some(Completion::Answered(found)))
    }
}

#[test]
fn batches_are_there_once_from_their_acknowledgement_on() {
    let good = || Story::new().acknowledged(0, (1, 2), 1).acknowledged(1, (3, 10), 1).batch(0, (4, 0), 2, None);
    check_batches(&good().found((5, 6), &[(0, 1)]).found((11, 12), &[(0, 1), (1, 1)]).0).unwrap();
    let checked = check_batches(&good().found((5, 6), &[(0, 1), (0, 2), (1, 1)]).0).unwrap();
    assert_eq!((checked.operations, checked.unknown), (4, 1));
    // Dropped, doubled, invented, from the future, with a hole before it, gone again.
    is_wrong(check_batches(&good().found((5, 6), &[(1, 1)]).0), "sequence: 1 }, which was acknowledged before it");
    is_wrong(check_batches(&good().found((5, 6), &[(0, 1), (1, 1), (0, 1)]).0), "more than once");
    is_wrong(check_batches(&good().found((5, 6), &[(0, 1), (7, 1)]).0), "nobody has sent");
    let late = good().found((5, 6), &[(0, 1), (3, 1)]).acknowledged(3, (7, 8), 1);
    is_wrong(check_batches(&late.0), "only afterwards");
    let hole = good().batch(0, (5, 0), 3, None).found((11, 12), &[(0, 1), (1, 1), (0, 3)]);
    is_wrong(check_batches(&hole.0), "without the one before it");
    let gone = good().found((5, 6), &[(0, 1), (0, 2)]).found((7, 8), &[(0, 1)]);
    is_wrong(check_batches(&gone.0), "an earlier read had");
    let refused = good().batch(2, (5, 6), 1, Some(Completion::Failed)).found((7, 8), &[(0, 1), (2, 1)]);
    is_wrong(check_batches(&refused.0), "was refused");
}

#[test]
fn the_recorder_counts_what_it_sees() {
    let recorder: Recorder<BatchCall, Vec<Batch>> = Recorder::default();
    let first = recorder.invoke(0, "k", BatchCall::Read);
    let second = recorder.invoke(1, "other", BatchCall::Read);
    recorder.complete_as(second, "k", BatchCall::Read, Completion::Failed);
    assert_eq!(recorder.count("k"), 2);
    drop(first);
    let operations = recorder.operations();
    assert_eq!((operations[0].invoked, operations[0].completed.is_none()), (1, true));
    assert_eq!((operations[1].invoked, operations[1].completed.clone()), (2, Some((3, Completion::Failed))));
    assert!(!operations[0].precedes(&operations[1]) && !operations[1].precedes(&operations[0]));
}

/// What a correct register answers to a random client, each operation stretched over its moment at random so that up to
/// `clients` overlap; some answers are lost.
fn executed(seed: u64, operations: usize, stretch: u64, lost_of_ten: u64) -> Registered {
    let mut random = Random::new(seed);
    let (mut state, mut story) = (RegisterState::default(), Vec::new());
    for number in 0..operations as u64 {
        let expected = match random.below(3) {
            0 => None,
            1 => Some(state.version),
            _ => Some(random.below(state.version + 2)),
        };
        let call = match random.below(3) {
            0 => RegisterCall::Read,
            _ => RegisterCall::Write { value: number + 1, expected },
        };
        let is_lost = random.below(10) < lost_of_ten;
        let takes_effect = !is_lost || random.below(2) == 0;
        let fits = expected.is_none_or(|expected| expected == state.version);
        let answer = match &call {
            RegisterCall::Read => RegisterAnswer::Found { version: state.version, value: state.value },
            RegisterCall::Write { .. } if !fits => RegisterAnswer::Conflict,
            RegisterCall::Write { value, .. } => {
                if takes_effect {
                    state = RegisterState { version: state.version + 1, value: *value };
                }
                RegisterAnswer::Written { version: Some(state.version) }
            }
        };
        // Its moment is in the middle of a span of its own; stretched, it overlaps with its neighbours.
        let moment = (number + 10) * 1_000;
        let (invoked, ended) = (moment - 1 - random.below(stretch + 1), moment + 1 + random.below(stretch + 1));
        let completed = (!is_lost).then_some((ended, Completion::Answered(answer)));
        story.push(Operation { client: number as usize, key: "k".to_owned(), call, invoked, completed });
    }
    Story(story)
}

proptest! {
    #![proptest_config(crate::properties(300))]

    #[test]
    fn what_a_correct_register_answers_is_accepted(
        seed in any::<u64>(), operations in 1..120_usize, stretch in 0..990_u64, reach in 0..4_u64, lost in 0..2_u64,
    ) {
        let checked = registered(executed(seed, operations, stretch + reach * 1_000, lost));
        prop_assert!(checked.is_ok(), "{}", checked.unwrap_err());
    }

    #[test]
    fn one_wrong_answer_is_rejected(seed in any::<u64>(), operations in 2..100_usize, stretch in 0..490_u64) {
        // Nothing overlaps: every answer follows from the one before, so that whichever is changed is wrong.
        let mut story = executed(seed, operations, stretch, 0);
        let mut random = Random::new(seed ^ 1);
        let victim = random.below(operations as u64) as usize;
        if let Some((_, Completion::Answered(answer))) = &mut story.0[victim].completed {
            *answer = match answer.clone() {
                RegisterAnswer::Found { version, value } if version > 0 && random.below(2) == 0 => {
                    RegisterAnswer::Found { version: version - 1, value }
                }
                RegisterAnswer::Found { version, .. } => RegisterAnswer::Found { version, value: 1_000 },
                RegisterAnswer::Written { version } => match random.below(2) {
                    0 => RegisterAnswer::Conflict,
                    _ => RegisterAnswer::Written { version: version.map(|version| version + 1) },
                },
                RegisterAnswer::Conflict => OK,
            };
        }
        let is_blind = matches!(story.0[victim].call, RegisterCall::Write { expected: None, .. });
        let checked = registered(story);
        prop_assert!(matches!(checked, Err(Fault::Wrong { .. })), "blind: {is_blind}, {checked:?}");
    }
}
