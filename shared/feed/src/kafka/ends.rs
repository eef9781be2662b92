//! What the last records of a topic's partitions tell: of which log its facts are, and how far that has come.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::record::Record;
use crate::source::{Cursor, OpenError};

/// The ends of a partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct End {
    /// The first offset that there is, and that after the last.
    pub low: i64,
    pub high: i64,
    /// Its last record, without its value.
    pub last: Option<Record>,
}

/// How a topic is to be read from a cursor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub source: String,
    /// The last relay's.
    pub epoch: i64,
    /// The log has at least so many events.
    pub head: i64,
    /// The last position that the topic has.
    pub last: i64,
    /// Where the cursor is in the topic's partitions, as facts number them: from 1.
    pub cursor: Cursor,
}

/// The record of the last relay, which says what the topic is of now.
pub(super) fn newest(ends: &[End]) -> Option<&Record> {
    let records = ends.iter().filter_map(|end| end.last.as_ref());
    records.max_by_key(|record| (record.stamp.epoch, record.fact.position))
}

/// How a topic with these ends is read from a cursor.
///
/// # Errors
/// When the topic is of another log than the cursor, or that was set back, or it has no record yet.
pub(super) fn plan(cursor: &Cursor, ends: &[End]) -> Result<Plan, OpenError> {
    let Some(newest) = newest(ends) else {
        let nothing = "its topic in Kafka is empty: the server of that service fills it, with feed.kafka.bootstrap set";
        return Err(OpenError::Away(nothing.to_owned()));
    };
    let source = newest.fact.source.clone();
    if !cursor.source.is_empty() && cursor.source != source {
        return Err(OpenError::OtherIncarnation { known: cursor.source.clone(), met: source });
    }
    let own = ends.iter().filter_map(|end| end.last.as_ref()).filter(|record| record.fact.source == source);
    let last = own.clone().map(|record| record.fact.position).max().unwrap_or_default();
    let head = own.map(|record| record.stamp.head).max().unwrap_or_default().max(last);
    let cursor = in_partitions(cursor, &source, ends.len());
    match cursor.positions.values().max() {
        Some(&from) if from > head => Err(OpenError::BeyondHead { source_name: source, from, head }),
        _ => Ok(Plan { source, epoch: newest.stamp.epoch, head, last, cursor }),
    }
}

/// A cursor in so many partitions. One that counts in others says of each of these what it says of the lowest of its
/// own.
fn in_partitions(cursor: &Cursor, source: &str, partitions: usize) -> Cursor {
    let numbers = 1..=i32::try_from(partitions).unwrap_or(i32::MAX);
    if cursor.positions.keys().copied().eq(numbers.clone()) {
        return Cursor { source: source.to_owned(), ..cursor.clone() };
    }
    let (position, event): (i64, Option<Uuid>) = (cursor.reached(), cursor.reached_event());
    Cursor {
        source: source.to_owned(),
        positions: numbers.clone().map(|number| (number, position)).collect(),
        events: event.map(|event| numbers.map(|number| (number, event)).collect()).unwrap_or_default(),
        resumes: BTreeMap::new(),
    }
}

/// Where a relay of a log begins, given how far it had come and what the topic has: nothing is left out that the topic
/// has lost, or never had. What comes twice is dropped by position.
pub(super) fn relay_from(source: &str, stored: i64, ends: &[End]) -> i64 {
    let own = |end: &End| end.last.as_ref().filter(|last| last.fact.source == source).map(|last| last.fact.position);
    ends.iter().map(|end| own(end).unwrap_or_default()).min().unwrap_or_default().min(stored)
}

/// The last position of a log that its topic has, and the event there: what tells whether the log was set back.
pub(super) fn last_of(source: &str, ends: &[End]) -> Cursor {
    let own = ends.iter().filter_map(|end| end.last.as_ref()).filter(|last| last.fact.source == source);
    let Some(last) = own.max_by_key(|last| last.fact.position) else { return Cursor::default() };
    let event = Uuid::try_parse(&last.fact.event_id).ok();
    let events = event.map(|event| BTreeMap::from([(0, event)])).unwrap_or_default();
    Cursor { events, ..Cursor::at(source, last.fact.position) }
}

#[cfg(test)]
mod tests {
    use contracts::feed::Fact;

    use super::super::record::Stamp;
    use super::*;

    fn end(source: &str, position: i64, epoch: i64, head: i64) -> End {
        let fact = Fact { source: source.to_owned(), position, ..Fact::default() };
        End { low: 0, high: 1, last: Some(Record { fact, stamp: Stamp { epoch, head }, ..Record::default() }) }
    }

    #[test]
    fn the_last_relay_says_what_a_topic_is_of() {
        // The partition that the new one has not come to still ends with the old one's.
        let ends = [end("s@1", 90, 4, 90), end("s@2", 3, 5, 7), End::default()];
        let plan = |source: &str| super::plan(&Cursor::at(source, 0), &ends);
        let planned = plan("").unwrap();
        assert_eq!((planned.source.as_str(), planned.epoch, planned.head, planned.last), ("s@2", 5, 7, 3));
        assert_eq!(plan("s@1"), Err(OpenError::OtherIncarnation { known: "s@1".into(), met: "s@2".into() }));
        assert!(matches!(super::plan(&Cursor::default(), &[End::default()]), Err(OpenError::Away(_))));
    }

    #[test]
    fn a_cursor_beyond_what_the_log_is_known_to_have_is_refused() {
        // That the relay lags behind is no reason.
        let ends = [end("s@1", 3, 1, 8), end("s@1", 5, 1, 5)];
        assert!(plan(&Cursor::at("s@1", 8), &ends).is_ok());
        let refused = plan(&Cursor::at("s@1", 9), &ends);
        assert_eq!(refused, Err(OpenError::BeyondHead { source_name: "s@1".into(), from: 9, head: 8 }));
    }

    #[test]
    fn a_cursor_in_other_partitions_begins_at_its_lowest_in_all() {
        let ends = [end("s@1", 9, 1, 9), end("s@1", 9, 1, 9)];
        let event = Uuid::from_u128(1);
        let own = Cursor {
            source: "s@1".to_owned(),
            positions: BTreeMap::from([(1, 4), (2, 6)]),
            events: BTreeMap::from([(2, event)]),
            resumes: BTreeMap::from([(1, 7)]),
        };
        assert_eq!(plan(&own, &ends).unwrap().cursor, own);
        let direct = Cursor { events: BTreeMap::from([(0, event)]), ..Cursor::at("s@1", 5) };
        let planned = plan(&direct, &ends).unwrap().cursor;
        assert_eq!(planned.positions, BTreeMap::from([(1, 5), (2, 5)]));
        assert_eq!(planned.events, BTreeMap::from([(1, event), (2, event)]), "it may stand in any");
        let of_three = Cursor { positions: BTreeMap::from([(1, 4), (2, 6), (3, 5)]), ..own };
        let planned = plan(&of_three, &ends).unwrap().cursor;
        assert_eq!((planned.positions, planned.resumes), (BTreeMap::from([(1, 4), (2, 4)]), BTreeMap::new()));
    }

    #[test]
    fn a_relay_begins_before_what_the_topic_may_have_lost() {
        let ends = [end("s@1", 90, 1, 90), end("s@1", 80, 1, 90)];
        assert_eq!(relay_from("s@1", 85, &ends), 80, "a partition that lost its end is filled again");
        assert_eq!(relay_from("s@1", 70, &ends), 70, "what it had not heard of is sent again");
        assert_eq!(relay_from("s@2", 85, &ends), 0, "another log begins anew");
        assert_eq!(relay_from("s@1", 85, &[ends[0].clone(), End::default()]), 0, "a topic made anew too");
        assert_eq!(relay_from("s@1", 85, &[]), 0);
    }
}
