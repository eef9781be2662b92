//! Faults of the log itself, for the test that shows that the check of histories sees each of them. They are there with
//! the feature `fail-points` only, and strike when `TRIALOG_FAIL_POINT` names one.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;
use crate::append::Batch;
use crate::work::{Append, Decision, Encoded};
use crate::writer::Writer;

/// What may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailPoint {
    /// `answer-before-commit`: a batch is answered, and its writer dies before it commits.
    AnswerBeforeCommit,
    /// `append-twice`: the events of a command are appended twice.
    AppendTwice,
    /// `read-after-lease`: whoever was deposed answers from its memory.
    ReadAfterLease,
    /// `drop-rows`: the rows of a record are undone, and it is acknowledged.
    DropRows,
}

/// Of so many chances one is taken: the others show what is right.
const CHANCES: u64 = 40;

static CHOSEN: LazyLock<Option<FailPoint>> = LazyLock::new(|| {
    Some(match std::env::var("TRIALOG_FAIL_POINT").ok()?.as_str() {
        "answer-before-commit" => FailPoint::AnswerBeforeCommit,
        "append-twice" => FailPoint::AppendTwice,
        "read-after-lease" => FailPoint::ReadAfterLease,
        "drop-rows" => FailPoint::DropRows,
        _ => return None,
    })
});
static SEEN: AtomicU64 = AtomicU64::new(0);

/// Whether it happens here and now.
pub(crate) fn strikes(point: FailPoint) -> bool {
    let is_always = point == FailPoint::ReadAfterLease;
    *CHOSEN == Some(point) && (is_always || SEEN.fetch_add(1, Ordering::Relaxed) % CHANCES == CHANCES - 1)
}

impl Decision {
    /// With each of its events once more.
    pub(crate) fn twice(mut self) -> Self {
        let again = |event: &Encoded| Encoded { kind: event.kind, schema: event.schema, data: event.data.clone() };
        let more: Vec<Encoded> = self.events.iter().map(again).collect();
        self.events.extend(more);
        self
    }
}

impl Writer {
    /// Decides and answers, and ends before anything is written.
    pub(crate) async fn answer_and_die(&mut self, mut appends: Vec<Append>) -> Result<(), Error> {
        let mut taken = self.aggregates.take(appends.iter().map(|append| &append.stream));
        let now_us = self.start.clock.now_us().max(self.start.recorded_at_us);
        let mut batch = Batch::new(HashMap::new(), self.start.head, now_us, now_us);
        batch.decide_all(&mut taken, &mut appends)?;
        appends.into_iter().zip(batch.answers).for_each(|(append, answer)| append.work.answer(answer));
        Err(Error::Closed)
    }
}
