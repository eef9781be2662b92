//! Values in order, with places: how many are ahead of one is found without a look at each of them.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::policy::Goal;

/// Entries of one block. Two blocks of half the size are made of a full one; a rung of a million trials has some
/// thousand blocks, whose sizes are all that a place has to add up.
const BLOCK_ENTRIES: usize = 1024;

/// A trial's value in a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ranked {
    pub value: f64,
    pub trial: u32,
}

/// A table, best first; of equal values the older trial, which has the lower index, is ahead.
#[derive(Clone, Default)]
pub(crate) struct Ranking {
    /// Shared, so that a copy to look ahead with copies only the blocks that it changes.
    blocks: Vec<Arc<Vec<Ranked>>>,
    count: usize,
}

/// How a table is cut into blocks depends on its history and means nothing.
impl PartialEq for Ranking {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Ranking {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

/// Which of two entries is ahead.
pub(crate) fn ahead(goal: Goal, a: &Ranked, b: &Ranked) -> Ordering {
    let by_value = match goal {
        Goal::Maximize => b.value.total_cmp(&a.value),
        Goal::Minimize => a.value.total_cmp(&b.value),
    };
    by_value.then(a.trial.cmp(&b.trial))
}

impl Ranking {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The block that holds an entry, or into which it belongs.
    fn block(&self, goal: Goal, entry: &Ranked) -> usize {
        let before =
            |block: &Arc<Vec<Ranked>>| block.last().is_some_and(|last| ahead(goal, last, entry) == Ordering::Less);
        self.blocks.partition_point(before)
    }

    pub(crate) fn insert(&mut self, goal: Goal, entry: Ranked) {
        self.count += 1;
        let block = self.block(goal, &entry).min(self.blocks.len().saturating_sub(1));
        let Some(entries) = self.blocks.get_mut(block) else {
            self.blocks.push(Arc::new(vec![entry]));
            return;
        };
        let entries = Arc::make_mut(entries);
        let place = entries.partition_point(|other| ahead(goal, other, &entry) == Ordering::Less);
        entries.insert(place, entry);
        if entries.len() >= BLOCK_ENTRIES {
            let upper = entries.split_off(BLOCK_ENTRIES / 2);
            self.blocks.insert(block + 1, Arc::new(upper));
        }
    }

    /// Takes an entry out, if it is there.
    pub(crate) fn remove(&mut self, goal: Goal, entry: &Ranked) {
        let block = self.block(goal, entry);
        let Some(entries) = self.blocks.get_mut(block) else { return };
        let place = entries.partition_point(|other| ahead(goal, other, entry) == Ordering::Less);
        if entries.get(place).is_some_and(|found| ahead(goal, found, entry) == Ordering::Equal) {
            let entries = Arc::make_mut(entries);
            entries.remove(place);
            self.count -= 1;
            if entries.is_empty() {
                self.blocks.remove(block);
            }
        }
    }

    /// How many entries are ahead of this one, which need not be in the table.
    pub(crate) fn place(&self, goal: Goal, entry: &Ranked) -> usize {
        let block = self.block(goal, entry);
        let before: usize = self.blocks.iter().take(block).map(|entries| entries.len()).sum();
        let inside =
            |entries: &Arc<Vec<Ranked>>| entries.partition_point(|other| ahead(goal, other, entry) == Ordering::Less);
        before + self.blocks.get(block).map_or(0, inside)
    }

    /// How many entries have a strictly better value.
    pub(crate) fn better(&self, goal: Goal, value: f64) -> usize {
        self.place(goal, &Ranked { value, trial: 0 })
    }

    /// The entry at a place, 0 is the best.
    pub(crate) fn at(&self, place: usize) -> Option<Ranked> {
        let mut before = 0;
        for block in &self.blocks {
            if let Some(entry) = block.get(place - before) {
                return Some(*entry);
            }
            before += block.len();
        }
        None
    }

    /// All entries, best first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Ranked> {
        self.blocks.iter().flat_map(|entries| entries.iter()).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::{Ranked, Ranking, ahead};
    use crate::policy::Goal;

    #[test]
    fn a_copy_that_is_changed_shares_all_but_what_it_changes() {
        // Each request with several reports looks ahead on a copy; of a large sweep a whole one would take a while.
        let goal = Goal::Maximize;
        let mut ranking = Ranking::default();
        (0..20_000).for_each(|trial| ranking.insert(goal, Ranked { value: f64::from(trial), trial }));
        let mut copy = ranking.clone();
        copy.insert(goal, Ranked { value: 7.5, trial: 20_000 });
        let shared = |block: &Arc<Vec<Ranked>>| ranking.blocks.iter().any(|known| Arc::ptr_eq(known, block));
        let own = copy.blocks.iter().filter(|block| !shared(block)).count();
        assert!((1..=2).contains(&own) && copy.blocks.len() > 20, "{own} of {} blocks", copy.blocks.len());
    }

    proptest! {
        #![proptest_config(testkit::properties(256))]

        #[test]
        fn it_is_a_sorted_list(
            maximize: bool,
            changes in prop::collection::vec((any::<bool>(), -20_i32..20, 0_u32..40), 1..3000),
            asked in (-21_i32..21, 0_u32..40),
        ) {
            let goal = if maximize { Goal::Maximize } else { Goal::Minimize };
            let (mut ranking, mut list) = (Ranking::default(), Vec::<Ranked>::new());
            for (remove, value, trial) in changes {
                let entry = Ranked { value: f64::from(value), trial };
                let known = list.iter().position(|other| *other == entry);
                if remove {
                    ranking.remove(goal, &entry);
                    known.map(|place| list.remove(place));
                } else if known.is_none() {
                    ranking.insert(goal, entry);
                    list.push(entry);
                }
            }
            list.sort_by(|a, b| ahead(goal, a, b));
            prop_assert_eq!(ranking.len(), list.len());
            prop_assert_eq!(ranking.iter().collect::<Vec<_>>(), list.clone());
            let asked = Ranked { value: f64::from(asked.0), trial: asked.1 };
            let place = list.iter().filter(|other| ahead(goal, other, &asked).is_lt()).count();
            prop_assert_eq!(ranking.place(goal, &asked), place);
            let better = list.iter().filter(|other| goal.worse(asked.value, other.value)).count();
            prop_assert_eq!(ranking.better(goal, asked.value), better);
            prop_assert_eq!(ranking.at(place), list.get(place).copied());
        }
    }
}
