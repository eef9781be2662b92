//! Facts that a topic lacks, told by those that come after them: each names the one before it in its stream.

use std::collections::{BTreeMap, HashMap};

use contracts::feed::Fact;

/// Streams whose last fact is remembered; with more of them it is begun anew.
const STREAMS_KNOWN: usize = 65_536;

/// What one reading has seen of a topic, as far as it is needed to miss something.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    /// By partition: what was before it was seen, or counts as seen.
    floors: BTreeMap<i32, i64>,
    /// By partition: the last position.
    seen: BTreeMap<i32, i64>,
    /// By stream: its last fact behind the floor.
    last: HashMap<String, i64>,
}

/// A fact that never came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// Its position.
    pub missing: i64,
    /// Up to here nothing is known to be missing in its partition: what went with it lies behind.
    pub after: i64,
}

impl Gaps {
    /// Of a reading that begins behind these positions of the partitions.
    pub fn after(floors: &BTreeMap<i32, i64>) -> Self {
        Self { floors: floors.clone(), seen: floors.clone(), last: HashMap::new() }
    }

    /// Takes a new fact in, or says what should have come before it.
    pub fn take(&mut self, fact: &Fact) -> Result<(), Gap> {
        let floor = self.floors.get(&fact.partition).copied().unwrap_or_default();
        let last = self.last.get(&fact.stream).copied().unwrap_or(floor).max(floor);
        if fact.previous > last {
            return Err(Gap { missing: fact.previous, after: floor });
        }
        self.seen.insert(fact.partition, fact.position);
        if fact.watermark {
            return Ok(());
        }
        if self.last.len() >= STREAMS_KNOWN && !self.last.contains_key(&fact.stream) {
            self.last.clear();
            self.floors.clone_from(&self.seen);
        }
        self.last.insert(fact.stream.clone(), fact.position);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(stream: &str, partition: i32, position: i64, previous: i64) -> Fact {
        Fact { stream: stream.to_owned(), partition, position, previous, ..Fact::default() }
    }

    #[test]
    fn a_fact_that_is_missing_is_missed_whatever_came_meanwhile() {
        // Another stream's fact had moved the partition beyond it, and nobody ever saw that it was lost.
        let mut gaps = Gaps::after(&BTreeMap::from([(1, 10), (2, 0)]));
        gaps.take(&fact("a", 1, 12, 3)).unwrap();
        gaps.take(&fact("b", 1, 15, 0)).unwrap();
        assert_eq!(gaps.take(&fact("a", 1, 16, 14)), Err(Gap { missing: 14, after: 10 }));
        gaps.take(&fact("a", 1, 17, 12)).unwrap();
        gaps.take(&fact("c", 2, 9, 0)).unwrap();
        assert_eq!(gaps.take(&fact("d", 2, 11, 4)), Err(Gap { missing: 4, after: 0 }), "of a stream that is new here");
        let mark = Fact { watermark: true, ..fact("", 1, 30, 0) };
        gaps.take(&mark).unwrap();
        gaps.take(&fact("a", 1, 31, 17)).unwrap();
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_was_seen_is_not_missed() {
        let mut gaps = Gaps::after(&BTreeMap::from([(1, 0)]));
        let many = i64::try_from(STREAMS_KNOWN).unwrap();
        for position in 1..=many + 1 {
            gaps.take(&fact(&position.to_string(), 1, position, 0)).unwrap();
        }
        assert!(gaps.last.len() <= STREAMS_KNOWN);
        gaps.take(&fact("5", 1, many + 2, 5)).unwrap();
        assert!(gaps.take(&fact("7", 1, many + 4, many + 3)).is_err());
    }
}
