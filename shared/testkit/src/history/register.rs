//! Registers that are changed under a version: streams of events, and aliases of models.

use std::collections::BTreeMap;

use super::linearizable::Model;

/// What is asked of a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterCall {
    /// What is there?
    Read,
    /// Put a value there; with a version only when it is that one.
    Write {
        /// The value. Those of different writes differ.
        value: u64,
        /// The version that must be there: `If-Match`.
        expected: Option<u64>,
    },
}

/// What a register answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterAnswer {
    /// What is there.
    Found {
        /// Its version.
        version: u64,
        /// The value.
        value: u64,
    },
    /// It was written, as this version where the answer says so.
    Written {
        /// Its version.
        version: Option<u64>,
    },
    /// Another version is there.
    Conflict,
}

/// What a register holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RegisterState {
    /// Grows by one with each write.
    pub version: u64,
    /// What was written last; 0 before.
    pub value: u64,
}

/// A versioned compare-and-set register: each write makes the next version, and with an expected version one of several
/// writers wins.
#[derive(Clone, Debug, Default)]
pub struct Register {
    /// What was there before the first recorded operation, by key; nothing where none is named.
    pub before: BTreeMap<String, RegisterState>,
    /// Whether a write of the value that is there is no change, so that no version comes of it: an alias that points
    /// there already. Its value is the version of its model that it points to, and 0 for none.
    pub is_changed_by_values_alone: bool,
}

impl Model for Register {
    type State = RegisterState;
    type Call = RegisterCall;
    type Answer = RegisterAnswer;

    fn initial(&self, key: &str) -> RegisterState {
        self.before.get(key).cloned().unwrap_or_default()
    }

    fn step(
        &self,
        state: &RegisterState,
        call: &RegisterCall,
        answer: Option<&RegisterAnswer>,
    ) -> Option<RegisterState> {
        let (value, expected) = match (call, answer) {
            (RegisterCall::Read, None) => return Some(state.clone()),
            (RegisterCall::Read, Some(RegisterAnswer::Found { version, value })) => {
                return ((*version, *value) == (state.version, state.value)).then(|| state.clone());
            }
            (RegisterCall::Read, Some(_)) | (RegisterCall::Write { .. }, Some(RegisterAnswer::Found { .. })) => {
                return None;
            }
            (RegisterCall::Write { value, expected }, _) => (*value, *expected),
        };
        let fits = expected.is_none_or(|expected| expected == state.version);
        let is_change = !self.is_changed_by_values_alone || value != state.value;
        let next = RegisterState { version: state.version + u64::from(is_change), value };
        match answer {
            Some(RegisterAnswer::Conflict) => (!fits).then(|| state.clone()),
            _ if !fits => None,
            Some(RegisterAnswer::Written { version: Some(version) }) if *version != next.version => None,
            _ => Some(next),
        }
    }
}
