//! Where in a partition a reader begins. Offsets are no positions: one is kept with each cursor as a hint, and what
//! lies there has to be what the cursor says; else the partition is looked through, up to the first new fact.

use uuid::Uuid;

use super::ends::End;
use super::record::Record;

/// How a place is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Find {
    /// It is known.
    At(i64),
    /// Behind the record at this offset, if that is the one that the cursor is at.
    Behind(i64),
    /// Through everything that there is.
    Through,
    /// The partition has lost its records, which the cursor had not all seen.
    Expired,
}

/// How to find the place behind a position in a partition, with a hint (0: none). `head`: the log's last position.
pub(super) fn find(position: i64, resume: i64, end: &End, head: i64) -> Find {
    if end.low == end.high {
        // Whatever was here went with time, unless nothing ever was.
        return if end.low == 0 || position >= head { Find::At(end.high) } else { Find::Expired };
    }
    if position == 0 && end.low == 0 {
        return Find::At(0);
    }
    match resume - 1 {
        offset if offset >= end.low && offset < end.high => Find::Behind(offset),
        _ => Find::Through,
    }
}

/// Whether a record is the one that a cursor is at.
pub(super) fn is_at(record: &Record, source: &str, position: i64, event: Option<Uuid>) -> bool {
    let fact = &record.fact;
    let is_event = event.is_none_or(|event| Uuid::try_parse(&fact.event_id).is_ok_and(|found| found == event));
    fact.source == source && fact.position == position && is_event
}

/// Whether facts after a position may be missing in a partition of which this is the first record that is left.
pub(super) fn has_expired(first: &Record, end: &End, source: &str, position: i64) -> bool {
    // Records of the log before it are older than all of its own.
    end.low > 0 && first.fact.source == source && first.fact.position > position + 1
}

#[cfg(test)]
mod tests {
    use contracts::feed::Fact;

    use super::*;

    fn end(low: i64, high: i64) -> End {
        End { low, high, last: None }
    }

    #[test]
    fn a_hint_is_taken_only_where_there_is_something_to_verify_it_with() {
        assert_eq!(find(7, 12, &end(3, 20), 9), Find::Behind(11));
        assert_eq!(find(7, 20, &end(3, 20), 9), Find::Behind(19));
        for (resume, why) in [(0, "there is none"), (21, "beyond its end: made anew"), (3, "it went with time")] {
            assert_eq!(find(7, resume, &end(3, 20), 9), Find::Through, "{why}");
        }
        assert_eq!(find(0, 0, &end(0, 20), 9), Find::At(0), "everything is new");
        assert_eq!(find(0, 0, &end(3, 20), 9), Find::Through, "its beginning went with time");
    }

    #[test]
    fn an_empty_partition_has_lost_what_was_there() {
        assert_eq!(find(5, 0, &end(0, 0), 9), Find::At(0), "nothing ever was");
        assert_eq!(find(5, 0, &end(8, 8), 9), Find::Expired);
        assert_eq!(find(9, 0, &end(8, 8), 9), Find::At(8), "all of it was seen");
    }

    #[test]
    fn what_lies_at_the_hint_has_to_be_what_the_cursor_says() {
        let (event, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let fact = Fact { source: "s@1".into(), position: 7, event_id: event.to_string(), ..Fact::default() };
        let record = Record { fact, ..Record::default() };
        assert!(is_at(&record, "s@1", 7, Some(event)) && is_at(&record, "s@1", 7, None));
        assert!(!is_at(&record, "s@1", 7, Some(other)) && !is_at(&record, "s@1", 8, Some(event)));
        assert!(!is_at(&record, "s@2", 7, Some(event)));
    }

    #[test]
    fn what_went_with_time_is_told_from_what_was_seen() {
        let first = |source: &str, position| Record {
            fact: Fact { source: source.to_owned(), position, ..Fact::default() },
            ..Record::default()
        };
        assert!(has_expired(&first("s@1", 9), &end(3, 20), "s@1", 7));
        assert!(!has_expired(&first("s@1", 8), &end(3, 20), "s@1", 7), "nothing is between them");
        assert!(!has_expired(&first("s@1", 9), &end(0, 20), "s@1", 7), "everything is still there");
        assert!(!has_expired(&first("s@0", 9), &end(3, 20), "s@1", 7));
    }
}
