//! Whether a history is linearizable: the search of Wing and Gong ("Testing and verifying concurrent objects", 1993)
//! with what Lowe added ("Testing for linearizability", 2017): a set of operations that were put in order, and the
//! state they led to, is visited once. Keys are checked by themselves (Horn and Kroening, "Faster linearizability
//! checking via P-compositionality", 2015).

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Debug, Write};
use std::hash::Hash;

use super::record::Operation;

/// What a correct service may answer.
pub trait Model {
    /// What it remembers of one key.
    type State: Clone + Eq + Hash + Debug;
    /// What it is asked.
    type Call: Debug + PartialEq;
    /// What it answers.
    type Answer: Debug;

    /// The state of a key that nobody has asked about.
    fn initial(&self, key: &str) -> Self::State;

    /// The state after a call, when the service may give this answer to it in this state. Without an answer nobody
    /// knows the outcome: the state that its effect leads to, if it can have one here.
    fn step(&self, state: &Self::State, call: &Self::Call, answer: Option<&Self::Answer>) -> Option<Self::State>;
}

/// Configurations of one key that a check visits at most, when nothing else is asked for: a second or two.
pub const CONFIGURATIONS_MAX: usize = 1_000_000;

/// Operations of a failure that are shown.
const SHOWN_MAX: usize = 12;

/// An operation on what a model models.
type Asked<M> = Operation<<M as Model>::Call, <M as Model>::Answer>;

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Keys.
    pub keys: usize,
    /// Operations on all of them, without those that certainly failed.
    pub operations: usize,
    /// Those of unknown outcome among them.
    pub unknown: usize,
    /// Configurations that were visited.
    pub configurations: usize,
}

/// Why a history is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No correct service could have answered so.
    Wrong {
        /// On which key.
        key: String,
        /// What there is to see of it.
        why: String,
    },
    /// The search was given up: it says nothing, so that it is no pass.
    Undecided {
        /// On which key.
        key: String,
        /// Configurations that were visited.
        configurations: usize,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong { key, why } => write!(f, "{key}: {why}"),
            Self::Undecided { key, configurations } => {
                write!(f, "{key}: undecided after {configurations} configurations, which is no pass")
            }
        }
    }
}

impl std::error::Error for Fault {}

/// Looks for an order of each key's operations in which the model gives every answer that was given.
///
/// # Errors
/// When there is none, or none was found within so many configurations of a key.
pub fn check<M: Model>(model: &M, history: &[Asked<M>], configurations_max: usize) -> Result<Checked, Fault> {
    let mut keys: BTreeMap<&str, Vec<&Asked<M>>> = BTreeMap::new();
    for operation in history.iter().filter(|operation| !operation.has_failed()) {
        keys.entry(&operation.key).or_default().push(operation);
    }
    let mut checked = Checked { keys: keys.len(), ..Checked::default() };
    for (key, operations) in keys {
        checked.operations += operations.len();
        checked.unknown += operations.iter().filter(|operation| operation.answer().is_none()).count();
        checked.configurations += Search::new(model, key, operations).run(configurations_max)?;
    }
    Ok(checked)
}

/// The place before the first moment.
const HEAD: usize = 0;

/// An invocation or a completion in the order of time, in a list from which operations are taken that were put in
/// order.
#[derive(Clone, Copy)]
struct Moment {
    operation: usize,
    /// Where the operation's completion is; none for a completion, and for what was not completed.
    completion: Option<usize>,
    is_invocation: bool,
    previous: usize,
    next: Option<usize>,
}

struct Search<'a, M: Model> {
    model: &'a M,
    key: &'a str,
    operations: Vec<&'a Asked<M>>,
    /// Of each operation of unknown outcome the one before it that asked the same and is unknown, too.
    twins: Vec<Option<usize>>,
    moments: Vec<Moment>,
    /// Completed operations that are not in order yet.
    left: usize,
    /// What is in order.
    ordered: Vec<u64>,
    /// How it came to that: the place of each invocation, and the state before it.
    path: Vec<(usize, M::State)>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, key: &'a str, operations: Vec<&'a Asked<M>>) -> Self {
        let mut order: Vec<(u64, usize, bool)> = Vec::with_capacity(2 * operations.len());
        for (number, operation) in operations.iter().enumerate() {
            order.push((operation.invoked, number, true));
            order.extend(operation.answer().map(|(at, _)| (at, number, false)));
        }
        order.sort_unstable_by_key(|(at, ..)| *at);
        let mut moments =
            vec![Moment { operation: 0, completion: None, is_invocation: false, previous: 0, next: None }];
        for (place, (_, operation, is_invocation)) in order.iter().enumerate() {
            let completion = order[place..].iter().position(|(_, of, invocation)| of == operation && !invocation);
            let completion = completion.filter(|_| *is_invocation).map(|after| place + after + 1);
            let next = (place + 1 < order.len()).then_some(place + 2);
            let moment =
                Moment { operation: *operation, completion, is_invocation: *is_invocation, previous: place, next };
            moments.push(moment);
        }
        moments[HEAD].next = (!order.is_empty()).then_some(1);
        let left = operations.iter().filter(|operation| operation.answer().is_some()).count();
        let ordered = vec![0; operations.len().div_ceil(64)];
        let is_unknown = |number: &usize| operations[*number].answer().is_none();
        let twin = |number: usize| {
            (0..number).rfind(|other| is_unknown(other) && operations[*other].call == operations[number].call)
        };
        let twins = (0..operations.len()).map(|number| twin(number).filter(|_| is_unknown(&number))).collect();
        Self { model, key, operations, twins, moments, left, ordered, path: Vec::new() }
    }

    /// How many configurations it took.
    fn run(mut self, configurations_max: usize) -> Result<usize, Fault> {
        let mut state = self.model.initial(self.key);
        let mut visited: HashSet<(Vec<u64>, M::State)> = HashSet::new();
        let (mut deepest, mut deepest_state) = (Vec::new(), state.clone());
        let mut place = self.moments[HEAD].next;
        while self.left > 0 {
            let at = place.expect("an operation that was completed and is not in order has its completion in the list");
            let moment = self.moments[at];
            if moment.is_invocation {
                place = match self.tried(&state, at) {
                    Some(after) if visited.insert((self.with(moment.operation), after.clone())) => {
                        if visited.len() > configurations_max {
                            let key = self.key.to_owned();
                            return Err(Fault::Undecided { key, configurations: visited.len() });
                        }
                        self.take(at, std::mem::replace(&mut state, after));
                        if self.path.len() > deepest.len() {
                            deepest = self.path.iter().map(|(place, _)| self.moments[*place].operation).collect();
                            deepest_state = state.clone();
                        }
                        self.moments[HEAD].next
                    }
                    _ => moment.next,
                };
            } else {
                // Whatever comes later cannot have come before this one, which is not in order.
                let Some((before, former)) = self.path.pop() else {
                    let why = self.story(&deepest, &deepest_state);
                    return Err(Fault::Wrong { key: self.key.to_owned(), why });
                };
                state = former;
                self.give_back(before);
                place = self.moments[before].next;
            }
        }
        Ok(visited.len())
    }

    /// The state that an operation leads to, if it may come next.
    fn tried(&self, state: &M::State, place: usize) -> Option<M::State> {
        let number = self.moments[place].operation;
        // Of two that asked the same, and of which nobody knows, the one that was asked first comes first.
        if self.twins[number].is_some_and(|twin| self.ordered[twin / 64] & (1 << (twin % 64)) == 0) {
            return None;
        }
        let operation = self.operations[number];
        let answer = operation.answer().map(|(_, answer)| answer);
        let after = self.model.step(state, &operation.call, answer)?;
        // One of unknown outcome that changes nothing here need not be looked at here.
        (answer.is_some() || after != *state).then_some(after)
    }

    /// The set of what is in order, with one more.
    fn with(&self, operation: usize) -> Vec<u64> {
        let mut set = self.ordered.clone();
        set[operation / 64] |= 1 << (operation % 64);
        set
    }

    fn take(&mut self, place: usize, before: M::State) {
        let Moment { operation, completion, .. } = self.moments[place];
        self.ordered[operation / 64] |= 1 << (operation % 64);
        self.unlink(place);
        if let Some(completion) = completion {
            self.unlink(completion);
            self.left -= 1;
        }
        self.path.push((place, before));
    }

    fn give_back(&mut self, place: usize) {
        let Moment { operation, completion, .. } = self.moments[place];
        self.ordered[operation / 64] &= !(1 << (operation % 64));
        // In the opposite order of taking: each finds its neighbours as it has left them.
        if let Some(completion) = completion {
            self.link(completion);
            self.left += 1;
        }
        self.link(place);
    }

    fn unlink(&mut self, place: usize) {
        let Moment { previous, next, .. } = self.moments[place];
        self.moments[previous].next = next;
        if let Some(next) = next {
            self.moments[next].previous = previous;
        }
    }

    fn link(&mut self, place: usize) {
        let Moment { previous, next, .. } = self.moments[place];
        self.moments[previous].next = Some(place);
        if let Some(next) = next {
            self.moments[next].previous = place;
        }
    }

    /// How far the longest order came, and what could not be put after it.
    fn story(&self, order: &[usize], state: &M::State) -> String {
        let shown = |number: usize| {
            let Operation { client, call, invoked, .. } = self.operations[number];
            match self.operations[number].answer() {
                Some((at, answer)) => format!("[{invoked}..{at}] client {client}: {call:?} -> {answer:?}"),
                None => format!("[{invoked}..] client {client}: {call:?} -> nobody knows"),
            }
        };
        let mut story = format!(
            "no order of its {} operations explains the answers; the longest one explains {}, the last of them:",
            self.operations.len(),
            order.len()
        );
        let skipped = order.len().saturating_sub(SHOWN_MAX);
        for number in &order[skipped..] {
            let _ = write!(story, "\n  {}", shown(*number));
        }
        let _ = write!(story, "\nand leads to {state:?}, after which none of these fits:");
        let is_answered = |number: &usize| self.operations[*number].answer().is_some();
        let rest = (0..self.operations.len()).filter(|number| !order.contains(number)).filter(is_answered);
        // One that began only after another one had ended could not come next in any case.
        let ends = rest.clone().filter_map(|number| self.operations[number].answer().map(|(at, _)| at));
        let horizon = ends.min().unwrap_or(u64::MAX);
        for number in rest.filter(|number| self.operations[*number].invoked < horizon).take(SHOWN_MAX) {
            let _ = write!(story, "\n  {}", shown(number));
        }
        story
    }
}
