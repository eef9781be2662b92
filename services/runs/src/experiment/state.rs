//! The experiments of one workspace. `Default` is there before the first event.
//!
//! ```text
//! (name unknown) -> created, for ever
//! ```

use std::collections::BTreeMap;

/// The id of the experiment that is always there.
pub const DEFAULT_ID: &str = "0";
/// Its name.
pub const DEFAULT_NAME: &str = "Default";

/// Names and their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Experiments {
    names: BTreeMap<String, u64>,
    last_id: u64,
}

impl Experiments {
    /// The id of a name.
    pub fn id_of(&self, name: &str) -> Option<u64> {
        if name == DEFAULT_NAME { Some(0) } else { self.names.get(name).copied() }
    }

    /// The id that the next new name gets.
    pub fn next_id(&self) -> u64 {
        self.last_id + 1
    }

    pub(super) fn add(&mut self, name: &str, id: u64) {
        self.names.insert(name.to_owned(), id);
        self.last_id = self.last_id.max(id);
    }
}
