//! What of a topic's records is new to a reader.

use std::collections::BTreeMap;
use std::sync::Arc;

use contracts::feed::Fact;
use uuid::Uuid;

use super::ends::Plan;
use super::record::Record;
use crate::source::OpenError;

/// How far a reader has come.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    source: String,
    epoch: i64,
    /// By partition as facts number them: the position, and the event there, where it is known.
    partitions: BTreeMap<i32, (i64, Option<Uuid>)>,
}

impl Seen {
    pub fn new(plan: &Plan) -> Self {
        let seen = |(number, position): (&i32, &i64)| (*number, (*position, plan.cursor.events.get(number).copied()));
        let partitions = plan.cursor.positions.iter().map(seen).collect();
        Self { source: plan.source.clone(), epoch: plan.epoch, partitions }
    }

    /// Takes a record: its fact, when that is new.
    ///
    /// # Errors
    /// When it shows that the topic is of another log from here on, or that its log was set back.
    pub fn take(&mut self, record: Record) -> Result<Option<Arc<Fact>>, OpenError> {
        let Record { fact, stamp, .. } = record;
        if fact.source != self.source {
            // Another log's: what came before this one is of no account.
            return match stamp.epoch > self.epoch {
                true => Err(OpenError::OtherIncarnation { known: self.source.clone(), met: fact.source }),
                false => Ok(None),
            };
        }
        let seen = self.partitions.entry(fact.partition).or_default();
        let event = Uuid::try_parse(&fact.event_id).ok();
        if fact.position > seen.0 {
            *seen = (fact.position, event);
            return Ok(Some(Arc::new(fact)));
        }
        match (seen.1, event) {
            (Some(known), Some(event)) if fact.position == seen.0 && known != event => {
                Err(OpenError::OtherHistory { source_name: fact.source, from: fact.position })
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Stamp;
    use super::*;
    use crate::source::Cursor;

    fn seen() -> Seen {
        let cursor = Cursor {
            source: "s@2".to_owned(),
            positions: BTreeMap::from([(1, 5), (2, 0)]),
            events: BTreeMap::from([(1, Uuid::from_u128(5))]),
            ..Cursor::default()
        };
        Seen::new(&Plan { source: "s@2".to_owned(), epoch: 3, head: 9, last: 9, cursor })
    }

    fn record(source: &str, epoch: i64, partition: i32, position: i64) -> Record {
        let event_id = Uuid::from_u128(u128::try_from(position).unwrap()).to_string();
        let fact = Fact { source: source.to_owned(), position, partition, event_id, ..Fact::default() };
        Record { fact, stamp: Stamp { epoch, head: 0 }, ..Record::default() }
    }

    #[test]
    fn what_is_sent_again_and_what_was_before_is_dropped() {
        let mut seen = seen();
        let mut takes = |record| seen.take(record).unwrap().map(|fact| fact.position);
        assert_eq!(takes(record("s@2", 3, 1, 5)), None);
        assert_eq!(takes(record("s@2", 3, 1, 6)), Some(6));
        assert_eq!(takes(record("s@2", 3, 2, 3)), Some(3), "partitions count for themselves");
        assert_eq!(takes(record("s@2", 4, 1, 4)), None, "a relay that begins again");
        assert_eq!(takes(record("s@2", 4, 1, 6)), None);
        assert_eq!(takes(record("s@2", 2, 1, 7)), Some(7), "a relay that was deposed says nothing wrong");
        assert_eq!(takes(record("s@1", 1, 1, 90)), None, "of the log before");
    }

    #[test]
    fn another_log_and_another_history_end_the_reading() {
        let other = seen().take(record("s@3", 4, 1, 1)).unwrap_err();
        assert_eq!(other, OpenError::OtherIncarnation { known: "s@2".into(), met: "s@3".into() });
        let mut again = record("s@2", 4, 1, 5);
        again.fact.event_id = Uuid::from_u128(55).to_string();
        let other = seen().take(again).unwrap_err();
        assert_eq!(other, OpenError::OtherHistory { source_name: "s@2".into(), from: 5 });
    }
}
