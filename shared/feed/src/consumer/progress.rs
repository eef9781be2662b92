//! What is done: a cursor for each partition, which stays before the first fact that is not.

use std::collections::BTreeMap;
use std::time::Duration;

use contracts::feed::Fact;
use eventlog::{CursorMove, Error, EventLog};
use tokio::time::Interval;
use uuid::Uuid;

use crate::source::Cursor;

/// The cursor is moved so long after the first fact that it lags behind: at once would be one more commit for each
/// fact, and after a crash what is seen again changes nothing.
const CURSOR_EVERY: Duration = Duration::from_millis(200);
/// Facts after which the cursor is moved in any case, so that little is seen again.
const CURSOR_FACTS: usize = 1024;

/// What a fact is to a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// To be handled.
    New,
    /// Seen before: a re-send.
    Repeat,
    /// The stream's fact before it, at this position, never came.
    Hole(i64),
}

/// How far facts were taken in and handled, and how much of that is stored.
pub(super) struct Progress {
    projection: &'static str,
    source: String,
    partitions: BTreeMap<i32, Partition>,
    /// Facts done since the last move.
    facts: usize,
    timer: Interval,
    lags: bool,
}

#[derive(Default)]
struct Partition {
    seen: Mark,
    saved: i64,
    /// What was seen before each of these, which are not done.
    open: BTreeMap<i64, Mark>,
}

/// What was seen, and all that is to be remembered of it.
#[derive(Clone, Copy, Default)]
struct Mark {
    position: i64,
    event_id: Option<Uuid>,
    resume: i64,
}

impl Partition {
    /// Everything up to here is done.
    fn reached(&self) -> i64 {
        self.open.keys().next().map_or(self.seen.position, |first| first - 1)
    }

    /// The last of what is done: nothing is between it and [`Partition::reached`].
    fn done(&self) -> Mark {
        self.open.values().next().copied().unwrap_or(self.seen)
    }
}

impl Progress {
    /// Of a cursor that counts in the partitions of the source.
    pub fn begin(projection: &'static str, cursor: &Cursor, source: String) -> Self {
        let partition = |(number, position): (&i32, &i64)| {
            let event_id = cursor.events.get(number).copied();
            let resume = cursor.resumes.get(number).copied().unwrap_or_default();
            let seen = Mark { position: *position, event_id, resume };
            (*number, Partition { seen, saved: *position, open: BTreeMap::new() })
        };
        let partitions = cursor.positions.iter().map(partition).collect();
        let timer = tokio::time::interval(CURSOR_EVERY);
        Self { projection, source, partitions, facts: 0, timer, lags: false }
    }

    /// The lowest position of all partitions: what a reader of the effects may rely on.
    pub fn reached(&self) -> i64 {
        self.partitions.values().map(Partition::reached).min().unwrap_or_default()
    }

    /// Takes a fact in; a new one is open until it is done.
    pub fn take_in(&mut self, fact: &Fact) -> Taken {
        let partition = self.partitions.entry(fact.partition).or_default();
        if fact.position <= partition.seen.position {
            return Taken::Repeat;
        }
        if fact.previous > partition.seen.position {
            return Taken::Hole(fact.previous);
        }
        let (position, resume) = (fact.position, fact.resume);
        let before = std::mem::replace(
            &mut partition.seen,
            Mark { position, event_id: Uuid::try_parse(&fact.event_id).ok(), resume },
        );
        if fact.watermark {
            self.lag();
        } else {
            partition.open.insert(position, before);
        }
        Taken::New
    }

    /// A fact is handled, passed over or parked.
    pub fn done(&mut self, partition: i32, position: i64) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.open.remove(&position);
        }
        self.facts += 1;
        self.lag();
    }

    fn lag(&mut self) {
        if !self.lags {
            self.timer.reset();
            self.lags = true;
        }
    }

    /// Whether so much is done that the cursor is to be moved at once.
    pub fn is_far(&self) -> bool {
        self.facts >= CURSOR_FACTS
    }

    /// Ends when the cursor has lagged long enough; never while it does not.
    pub async fn is_due(&mut self) {
        if !self.lags {
            return std::future::pending().await;
        }
        self.timer.tick().await;
    }

    /// Stores how far everything is done.
    ///
    /// # Errors
    /// When the log does not take it for now.
    pub async fn save(&mut self, log: &EventLog) -> Result<(), Error> {
        (self.lags, self.facts) = (false, 0);
        let (projection, source) = (self.projection, &self.source);
        // At once: the writer takes them in one commit.
        let moves = self.partitions.iter_mut().map(async |(number, partition)| {
            let Mark { position, event_id, resume } = partition.done();
            if position > partition.saved {
                let (projection, source) = (projection.to_owned(), source.clone());
                let cursor = CursorMove { projection, source, partition: *number, position, event_id, resume };
                log.move_to(cursor).await?;
                partition.saved = position;
            }
            Ok(())
        });
        futures_util::future::try_join_all(moves).await.map(drop)
    }
}

/// Where a projection has come in a service's facts. A cursor under the service's bare name, as older builds kept it,
/// counts in whatever incarnation is met first.
///
/// Where several incarnations are known, it is for a person to choose: the text says so.
///
/// # Errors
/// When the log cannot be read.
pub(crate) async fn load(
    log: &EventLog,
    projection: &str,
    service: &str,
) -> Result<Result<Cursor, String>, eventlog::Error> {
    let rows = log.cursors(projection).await?;
    let incarnation = format!("{service}@");
    let mut named: BTreeMap<String, Cursor> = BTreeMap::new();
    let mut bare = Cursor::default();
    for row in rows {
        if row.source.starts_with(&incarnation) {
            let new = || Cursor { source: row.source.clone(), ..Cursor::default() };
            let cursor = named.entry(row.source.clone()).or_insert_with(new);
            cursor.positions.insert(row.partition, row.position);
            cursor.events.extend(row.event_id.map(|id| (row.partition, id)));
            cursor.resumes.insert(row.partition, row.resume);
        } else if row.source == service {
            bare.positions.insert(row.partition, row.position);
        }
    }
    if named.len() > 1 {
        return Ok(Err(format!(
            "{projection} has cursors in several incarnations of {service}: {}; settle it with `trialog feed adopt`",
            named.keys().cloned().collect::<Vec<_>>().join(", ")
        )));
    }
    Ok(Ok(named.into_values().next().unwrap_or(bare)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(position: i64, previous: i64) -> Fact {
        Fact { position, previous, ..Fact::default() }
    }

    #[tokio::test]
    async fn the_cursor_stays_before_what_is_not_done() {
        let mut progress = Progress::begin("p", &Cursor::at("s@1", 10), "s@1".to_owned());
        for position in 11..=14 {
            assert_eq!(progress.take_in(&fact(position, 0)), Taken::New);
        }
        assert_eq!(progress.reached(), 10);
        progress.done(0, 12);
        progress.done(0, 11);
        progress.done(0, 14);
        assert_eq!(progress.reached(), 12, "13 is not done, whatever came after it");
        progress.done(0, 13);
        assert_eq!(progress.reached(), 14);
        assert_eq!(progress.take_in(&fact(14, 0)), Taken::Repeat);
        let silent = Fact { watermark: true, ..fact(20, 0) };
        assert_eq!((progress.take_in(&silent), progress.reached()), (Taken::New, 20));
    }

    #[tokio::test]
    async fn a_fact_whose_predecessor_never_came_is_a_hole() {
        let mut progress = Progress::begin("p", &Cursor::at("s@1", 10), "s@1".to_owned());
        assert_eq!(progress.take_in(&fact(12, 3)), Taken::New, "what was before the cursor was seen");
        assert_eq!(progress.take_in(&fact(15, 14)), Taken::Hole(14));
        assert_eq!(progress.take_in(&fact(14, 12)), Taken::New);
        assert_eq!(progress.take_in(&fact(15, 14)), Taken::New);
    }

    #[tokio::test]
    async fn partitions_count_for_themselves() {
        let mut progress = Progress::begin("p", &Cursor::default(), "s@1".to_owned());
        let of = |partition, position| Fact { partition, ..fact(position, 0) };
        assert_eq!(progress.take_in(&of(0, 8)), Taken::New);
        assert_eq!(progress.take_in(&of(3, 5)), Taken::New, "less than in another partition");
        progress.done(0, 8);
        assert_eq!(progress.reached(), 4);
        progress.done(3, 5);
        assert_eq!(progress.reached(), 5, "the lowest of all");
    }
}
