//! Reading aggregates that are not in memory: a snapshot, if there is one that this build reads, and the events after
//! it. The connections for reading do it, never the writer's.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use crate::aggregates::{Aggregates, Entry};
use crate::snapshots::{self, Wanted};
use crate::store::Reader;
use crate::work::State;
use crate::{Error, RecordedEvent};

/// Events per step.
const LOAD_PAGE: u32 = 1_000;
/// Aggregates read at once: half of the connections, so that lists are not held up by long histories.
const LOADS_AT_ONCE: usize = 2;

/// A stream that was read, or why it was not; the state is among the [`Aggregates`].
pub(crate) type Loaded = (Arc<str>, Result<(), Error>);

/// Reads aggregates in the background.
#[derive(Clone)]
pub(crate) struct Loader {
    reader: Arc<Reader>,
    aggregates: Arc<Aggregates>,
    room: Arc<Semaphore>,
    /// Tells the writer.
    done: mpsc::UnboundedSender<Loaded>,
    /// Asks for a snapshot of a history that was long.
    snapshots: mpsc::Sender<Wanted>,
}

impl Loader {
    pub fn new(
        reader: Arc<Reader>,
        aggregates: Arc<Aggregates>,
        done: mpsc::UnboundedSender<Loaded>,
        snapshots: mpsc::Sender<Wanted>,
    ) -> Self {
        Self { reader, aggregates, room: Arc::new(Semaphore::new(LOADS_AT_ONCE)), done, snapshots }
    }

    /// Reads a stream that is marked as being read, and tells who waits and the writer. It goes on whoever goes away.
    pub fn start(&self, stream: Arc<str>, fresh: Arc<dyn State>) {
        let this = self.clone();
        tokio::spawn(async move {
            let room = this.room.acquire().await;
            let loaded = fold(&this.reader, &stream, fresh).await;
            drop(room);
            let outcome = loaded.as_ref().map(|_| ()).map_err(Clone::clone);
            this.keep(&stream, loaded);
            // The writer is gone when the log is closed.
            let _ = this.done.send((stream, outcome));
        });
    }

    fn keep(&self, stream: &Arc<str>, mut loaded: Result<Entry, Error>) {
        let mut is_long = false;
        if let Ok(entry) = &mut loaded {
            is_long = snapshots::is_due(entry.version, entry.snapshot);
            if is_long {
                entry.snapshot = entry.version;
            }
        }
        self.aggregates.end_load(stream, loaded);
        if is_long {
            // With too many waiting it is asked for again after as many events.
            let _ = self.snapshots.try_send(Wanted::of(stream));
        }
    }
}

/// Takes events into a state that nobody else has yet.
pub(crate) fn fold_all(mut entry: Entry, events: &[RecordedEvent]) -> Result<Entry, Error> {
    let state = Arc::get_mut(&mut entry.state).ok_or_else(|| Error::Decode("a state that is shared".to_owned()))?;
    for event in events {
        state.fold(&event.kind, event.schema, &event.data)?;
        entry.version = event.version;
    }
    Ok(entry)
}

/// The state of a stream's history.
pub(crate) async fn fold(reader: &Reader, stream: &str, fresh: Arc<dyn State>) -> Result<Entry, Error> {
    let mut entry = match reader.snapshot(stream).await? {
        Some(snapshot) => match fresh.restore(&snapshot) {
            Some(state) => Entry::new(state, snapshot.version, snapshot.version),
            None => Entry::new(fresh, 0, 0),
        },
        None => Entry::new(fresh, 0, 0),
    };
    loop {
        let page = reader.stream(stream, entry.version, LOAD_PAGE).await?;
        entry = fold_all(entry, &page)?;
        if (page.len() as u64) < u64::from(LOAD_PAGE) {
            return Ok(entry);
        }
        // A long history must not keep a thread from everything else.
        tokio::task::yield_now().await;
    }
}
