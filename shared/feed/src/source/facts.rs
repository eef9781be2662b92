//! The trait that every way of carrying facts implements.

use std::collections::BTreeMap;
use std::sync::Arc;

use contracts::feed::Fact;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use uuid::Uuid;

/// How far a reader has come in one source: everything up to there is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// `service@incarnation`; empty: whatever the source is now.
    pub source: String,
    /// The position of each partition; one that is absent begins at its beginning. A log that is read directly has the
    /// one partition 0; what has several numbers them from 1, so that nobody takes one for the other.
    pub positions: BTreeMap<i32, i64>,
    /// The event at each of these, where it is known: in a log that was set back and has grown again it is another one.
    pub events: BTreeMap<i32, Uuid>,
    /// Where what carries the facts goes on after these, when that is no position: hints, which it verifies.
    pub resumes: BTreeMap<i32, i64>,
}

impl Cursor {
    /// A position in the one partition of a log.
    pub fn at(source: impl Into<String>, position: i64) -> Self {
        Self { source: source.into(), positions: BTreeMap::from([(0, position)]), ..Self::default() }
    }

    /// The position in a partition; 0 before its first fact.
    pub fn position(&self, partition: i32) -> i64 {
        self.positions.get(&partition).copied().unwrap_or_default()
    }

    /// The position up to which nothing is missing in any partition: where the log is read on that has only one.
    pub fn reached(&self) -> i64 {
        self.positions.values().min().copied().unwrap_or_default()
    }

    /// The event at [`Cursor::reached`], where it is known.
    pub fn reached_event(&self) -> Option<Uuid> {
        let lowest = self.positions.iter().min_by_key(|(_, position)| **position)?.0;
        self.events.get(lowest).copied()
    }
}

/// Facts as they come. An error, or the end, means that the stream broke off: it is opened again from the cursor.
pub type Facts = BoxStream<'static, Result<Arc<Fact>, String>>;

/// An opened source.
pub struct Opened {
    /// `service@incarnation`.
    pub source: String,
    /// The position of its last event when it was opened, where that is told.
    pub head: Option<i64>,
    /// Its partitions, and the position in each after which its facts are read: those of the cursor, unless that
    /// counts in what has other partitions.
    pub from: BTreeMap<i32, i64>,
    /// Its facts after the cursor. Per stream in order; in a partition positions increase, except that what was sent
    /// before may be sent again; never a hole. Watermarks say that nothing up to their position is missing.
    pub facts: Facts,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened({})", self.source)
    }
}

/// Why a source cannot be read from a cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The log is another one than the cursor counts in: it was made anew, or restored.
    #[error("the source is {met}, not {known}")]
    OtherIncarnation {
        /// What the cursor names.
        known: String,
        /// What is there.
        met: String,
    },
    /// The log ends before the cursor: it was set back.
    #[error("position {from} is beyond the head of {source_name}, which is {head}")]
    BeyondHead {
        /// The source.
        source_name: String,
        /// The cursor's position.
        from: i64,
        /// The last position that there is.
        head: i64,
    },
    /// Another event stands where the cursor is: the log was set back and has grown again.
    #[error("another event than before is at position {from} of {source_name}")]
    OtherHistory {
        /// The source.
        source_name: String,
        /// The cursor's position.
        from: i64,
    },
    /// What carries the facts has those no more that come next: they are read from the log itself.
    #[error("the facts of {source_name} after {from} are no more where they are carried")]
    Expired {
        /// The source.
        source_name: String,
        /// The cursor's position.
        from: i64,
    },
    /// It cannot be reached now.
    #[error("{0}")]
    Away(String),
}

/// Something that facts of a service can be read from.
pub trait FactSource: Send + Sync + 'static {
    /// Opens the facts after a cursor; they go on for as long as somebody reads.
    ///
    /// # Errors
    /// See [`OpenError`].
    fn open<'a>(&'a self, cursor: &'a Cursor) -> BoxFuture<'a, Result<Opened, OpenError>>;
}
