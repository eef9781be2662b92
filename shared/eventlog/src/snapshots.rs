//! Snapshots: a state in a form of its own, written now and then so that nobody folds a long history from its
//! beginning. They are made beside the writer, one at a time; deleting all of them changes nothing but time.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::aggregates::{Aggregates, Found};
use crate::work::Item;

/// Events after which a stream's snapshot is made anew, at least.
const EVENTS_BETWEEN: i64 = 1_000;
/// The part of a history that may be without a snapshot while it grows, so that all the snapshots of a stream together
/// are a few times as large as its last one.
const GROWTH: i64 = 8;
/// The same for a stream that nobody has asked for since the log was tidied last.
const EVENTS_IDLE: i64 = 200;
/// Streams that get a snapshot for having been idle, each time the log is tidied.
pub(crate) const IDLE_MAX: usize = 16;
/// Streams that may wait for their snapshot; those beyond wait for their next events.
pub(crate) const WAITING_MAX: usize = 64;
/// Bytes of a snapshot. A longer one would hold the writer up for longer than reading the history does anybody.
const BYTES_MAX: usize = 32 << 20;

/// A row of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SnapshotRow {
    pub stream: Arc<str>,
    pub schema: i16,
    pub version: i64,
    pub bytes: Vec<u8>,
}

/// Whether a stream has grown enough since its last snapshot.
pub(crate) fn is_due(version: i64, snapshot: i64) -> bool {
    version - snapshot >= EVENTS_BETWEEN.max(version / GROWTH)
}

/// Whether a stream that is idle has.
pub(crate) fn is_due_when_idle(version: i64, snapshot: i64) -> bool {
    version - snapshot >= EVENTS_IDLE
}

/// A stream whose snapshot is wanted, and who wants to know that it is written.
pub(crate) struct Wanted {
    pub stream: Arc<str>,
    pub written: Option<oneshot::Sender<()>>,
}

impl Wanted {
    /// Nobody waits for it.
    pub fn of(stream: &Arc<str>) -> Self {
        Self { stream: Arc::clone(stream), written: None }
    }
}

/// Makes the snapshots that are asked for, until the writer is gone.
pub(crate) async fn make(
    mut asked: mpsc::Receiver<Wanted>,
    aggregates: Arc<Aggregates>,
    queue: mpsc::WeakSender<Item>,
) {
    while let Some(Wanted { stream, written }) = asked.recv().await {
        let seen = match aggregates.find_kept(&stream) {
            Some(Found::Here(seen)) => seen,
            Some(Found::Soon(soon)) => match soon.await {
                Ok(Ok(seen)) => seen,
                _ => continue,
            },
            // It has left memory meanwhile.
            _ => continue,
        };
        // Encoding a large state takes a while, which no thread of the runtime has.
        let encoded = tokio::task::spawn_blocking(move || (seen.state.snapshot(), seen.version)).await;
        let Ok((Some((schema, bytes)), version)) = encoded else { continue };
        if bytes.len() > BYTES_MAX {
            tracing::warn!(%stream, bytes = bytes.len(), "a snapshot is too large to be kept");
            continue;
        }
        let Some(queue) = queue.upgrade() else { return };
        let (kept, is_kept) = oneshot::channel();
        let row = SnapshotRow { stream, schema, version, bytes };
        if queue.send(Item::Snapshot(row, kept)).await.is_err() {
            return;
        }
        drop(queue);
        // One at a time.
        if is_kept.await.is_ok()
            && let Some(written) = written
        {
            // Who has gone away is not told.
            let _ = written.send(());
        }
    }
}
