//! The latest events in memory. Whoever follows the log is woken by every commit; without this each of them would ask
//! the database for the same few events.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::RecordedEvent;

/// Events kept: far more than come between two looks of a follower that keeps up.
const EVENTS_MAX: usize = 2_048;
/// Bytes of text kept, for logs of large events.
const BYTES_MAX: usize = 2 << 20;

/// A gapless end of the log.
#[derive(Default)]
pub(crate) struct Tail {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    events: VecDeque<RecordedEvent>,
    bytes: usize,
}

impl Tail {
    /// Takes in what was committed, in order, before the head moves.
    pub fn push(&self, committed: Vec<RecordedEvent>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for event in committed {
            kept.bytes += bytes(&event);
            kept.events.push_back(event);
            while kept.events.len() > EVENTS_MAX || (kept.bytes > BYTES_MAX && kept.events.len() > 1) {
                let Some(gone) = kept.events.pop_front() else { break };
                kept.bytes -= bytes(&gone);
            }
        }
    }

    /// The events after a position, if all of them are here.
    pub fn after(&self, position: i64, limit: u32) -> Option<Vec<RecordedEvent>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let first = kept.events.front()?.position;
        // Positions have no gaps, so that a place follows from a position.
        let skipped = usize::try_from(position.checked_add(1)?.checked_sub(first)?).ok()?;
        Some(kept.events.iter().skip(skipped).take(limit as usize).cloned().collect())
    }
}

fn bytes(event: &RecordedEvent) -> usize {
    event.stream.len() + event.kind.len() + event.data.len() + event.meta.len()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn event(position: i64, data: usize) -> RecordedEvent {
        RecordedEvent {
            position,
            stream: "a".to_owned(),
            version: position,
            event_id: Uuid::nil(),
            kind: "K".to_owned(),
            schema: 1,
            command_id: Uuid::nil(),
            recorded_at_us: 0,
            data: "x".repeat(data),
            meta: String::new(),
        }
    }

    fn positions(tail: &Tail, after: i64, limit: u32) -> Option<Vec<i64>> {
        tail.after(after, limit).map(|events| events.iter().map(|event| event.position).collect())
    }

    #[test]
    fn what_is_not_all_here_is_left_to_the_database() {
        let tail = Tail::default();
        assert_eq!(positions(&tail, 0, 10), None, "nothing was committed since the log was opened");
        tail.push(vec![event(7, 1), event(8, 1)]);
        tail.push(vec![event(9, 1)]);
        assert_eq!(positions(&tail, 5, 10), None);
        assert_eq!(positions(&tail, 6, 10), Some(vec![7, 8, 9]));
        assert_eq!(positions(&tail, 6, 2), Some(vec![7, 8]));
        assert_eq!(positions(&tail, 8, 10), Some(vec![9]));
        assert_eq!(positions(&tail, 9, 10), Some(Vec::new()));
        assert_eq!(positions(&tail, i64::MAX, 10), None);
    }

    #[test]
    fn it_holds_so_many_events_and_bytes() {
        let tail = Tail::default();
        tail.push((1..=EVENTS_MAX as i64 + 5).map(|position| event(position, 1)).collect());
        assert_eq!((positions(&tail, 4, 1), positions(&tail, 5, 1)), (None, Some(vec![6])));
        let next = EVENTS_MAX as i64 + 6;
        tail.push(vec![event(next, BYTES_MAX + 1)]);
        assert_eq!(positions(&tail, next - 1, 9), Some(vec![next]), "one event is kept whatever its size");
        assert_eq!(positions(&tail, next - 2, 9), None);
    }
}
