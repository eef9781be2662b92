//! Commands that were accepted before: the idempotency.

use std::collections::{HashSet, VecDeque};

use uuid::Uuid;

use crate::Committed;
use crate::identity::FINGERPRINT_BYTES;

/// Days for which a repeated command is answered with the first result.
const KEPT_DAYS: i64 = 30;
/// The same in microseconds.
pub(crate) const KEPT_US: i64 = KEPT_DAYS * 24 * 60 * 60 * 1_000_000;

/// An accepted command.
#[derive(Clone)]
pub(crate) struct Known {
    pub fingerprint: [u8; FINGERPRINT_BYTES],
    pub committed: Committed,
}

/// Ids of the last commands that are remembered: some minutes of a busy log, within which nearly all repeats come.
pub(crate) const RECENT_MAX: usize = 65_536;

/// The last commands: a batch with one of them is not taken for new. That it would be found out is no help: the
/// aggregates of the batch would have to be read anew.
#[derive(Default)]
pub(crate) struct Recent {
    ids: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl Recent {
    /// As they were put before a restart: those whose answers were lost come again right after it.
    pub fn of(ids: Vec<Uuid>) -> Self {
        let mut recent = Self::default();
        ids.into_iter().for_each(|id| recent.put(id));
        recent
    }

    pub fn has(&self, id: Uuid) -> bool {
        self.ids.contains(&id)
    }

    pub fn put(&mut self, id: Uuid) {
        if !self.ids.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > RECENT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_recent_commands_are_kept_as_there_is_room_for() {
        let mut recent = Recent::default();
        (0..RECENT_MAX as u128 + 2).for_each(|id| recent.put(Uuid::from_u128(id)));
        recent.put(Uuid::from_u128(5));
        let has = |id: usize| recent.has(Uuid::from_u128(id as u128));
        assert_eq!([has(1), has(2), has(RECENT_MAX + 1)], [false, true, true]);
        assert_eq!((recent.ids.len(), recent.order.len()), (RECENT_MAX, RECENT_MAX));
    }
}
