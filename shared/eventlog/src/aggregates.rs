//! The committed aggregates in memory, shared by the writer and those who read.
//!
//! A reader takes a handle of the state and lets go of the lock; the writer changes a state in place when nobody else
//! holds it, and a copy of it otherwise. While a batch decides on an aggregate nobody else sees it: who asks is handed
//! the outcome of that batch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::Error;
use crate::work::State;

/// Aggregates kept in memory.
const STREAMS_MAX: usize = 8_192;
/// The least recently used part that goes when there are too many: a quarter, so that sorting is rare.
const STREAMS_KEPT: usize = STREAMS_MAX / 4 * 3;

/// A state that is committed.
#[derive(Clone)]
pub(crate) struct Seen {
    pub state: Arc<dyn State>,
    pub version: i64,
}

/// An aggregate with its version.
pub(crate) struct Entry {
    pub state: Arc<dyn State>,
    pub version: i64,
    /// Up to which version a snapshot was asked for.
    pub snapshot: i64,
    used: u64,
}

impl Entry {
    pub fn new(state: Arc<dyn State>, version: i64, snapshot: i64) -> Self {
        Self { state, version, snapshot, used: 0 }
    }

    pub fn seen(&self) -> Seen {
        Seen { state: Arc::clone(&self.state), version: self.version }
    }
}

/// Where one who asks is told, once it is known.
pub(crate) type Waiter = oneshot::Sender<Result<Seen, Error>>;

enum Slot {
    Committed(Entry),
    /// A batch decides on it.
    Deciding(Vec<Waiter>),
    /// It is read.
    Loading(Vec<Waiter>),
}

/// What is known of an aggregate.
pub(crate) enum Found {
    Here(Seen),
    Soon(oneshot::Receiver<Result<Seen, Error>>),
    /// It is marked as being read now: whoever gets this reads it.
    Absent(oneshot::Receiver<Result<Seen, Error>>),
}

/// How a stream stands for the writer.
pub(crate) enum Standing {
    Here,
    Loading,
    Absent,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Aggregates {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    slots: HashMap<Arc<str>, Slot>,
    tick: u64,
    /// The tick at which idle streams were looked for last.
    looked: u64,
}

impl Aggregates {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for one who reads. An aggregate of another kind without events gives way.
    pub fn find(&self, stream: &Arc<str>, is_understood: impl Fn(&dyn State) -> bool) -> Found {
        let mut kept = self.lock();
        kept.tick += 1;
        let tick = kept.tick;
        match kept.slots.get_mut(stream) {
            Some(Slot::Committed(entry)) if entry.version > 0 || is_understood(entry.state.as_ref()) => {
                entry.used = tick;
                Found::Here(entry.seen())
            }
            Some(Slot::Deciding(waiters) | Slot::Loading(waiters)) => {
                let (waiter, soon) = oneshot::channel();
                waiters.push(waiter);
                Found::Soon(soon)
            }
            Some(Slot::Committed(_)) | None => {
                let (waiter, soon) = oneshot::channel();
                kept.slots.insert(Arc::clone(stream), Slot::Loading(vec![waiter]));
                Found::Absent(soon)
            }
        }
    }

    /// Looks without asking for anything to be read.
    pub fn find_kept(&self, stream: &Arc<str>) -> Option<Found> {
        match self.lock().slots.get_mut(stream)? {
            Slot::Committed(entry) => Some(Found::Here(entry.seen())),
            Slot::Deciding(waiters) | Slot::Loading(waiters) => {
                let (waiter, soon) = oneshot::channel();
                waiters.push(waiter);
                Some(Found::Soon(soon))
            }
        }
    }

    /// What is kept of a stream, of a log that another process writes.
    pub fn committed(&self, stream: &Arc<str>, is_understood: impl Fn(&dyn State) -> bool) -> Option<Seen> {
        let mut kept = self.lock();
        kept.tick += 1;
        let tick = kept.tick;
        match kept.slots.get_mut(stream)? {
            Slot::Committed(entry) if is_understood(entry.state.as_ref()) => {
                entry.used = tick;
                Some(entry.seen())
            }
            _ => None,
        }
    }

    /// A stream of such a log has grown: it is read anew when somebody asks for it.
    pub fn forget(&self, stream: &str) {
        self.lock().slots.remove(stream);
    }

    /// Keeps what was read of such a log, unless more was read meanwhile. A stream without events is not kept.
    pub fn keep(&self, stream: &Arc<str>, entry: Entry) {
        let mut kept = self.lock();
        let is_older = |slot: &Slot| matches!(slot, Slot::Committed(known) if known.version >= entry.version);
        if entry.version == 0 || kept.slots.get(stream).is_some_and(is_older) {
            return;
        }
        kept.put(stream, entry);
        drop(kept);
        self.trim();
    }

    /// How the streams stand, all at one moment.
    pub fn standing(&self, streams: &[Arc<str>], mut each: impl FnMut(&Arc<str>, Standing)) {
        let kept = self.lock();
        for stream in streams {
            each(
                stream,
                match kept.slots.get(stream) {
                    Some(Slot::Committed(_)) => Standing::Here,
                    Some(Slot::Deciding(_) | Slot::Loading(_)) => Standing::Loading,
                    None => Standing::Absent,
                },
            );
        }
    }

    /// Marks a stream as being read. False when it is here, or being read already.
    pub fn begin_load(&self, stream: &Arc<str>) -> bool {
        let mut kept = self.lock();
        let is_absent = !kept.slots.contains_key(stream);
        if is_absent {
            kept.slots.insert(Arc::clone(stream), Slot::Loading(Vec::new()));
        }
        is_absent
    }

    /// What was read. A stream without events is not kept, so that questions about nothing take no room.
    pub fn end_load(&self, stream: &Arc<str>, loaded: Result<Entry, Error>) {
        let mut kept = self.lock();
        let waiters = match kept.slots.remove(stream) {
            Some(Slot::Loading(waiters)) => waiters,
            Some(other) => {
                kept.slots.insert(Arc::clone(stream), other);
                return;
            }
            None => return,
        };
        let seen = loaded.as_ref().map(Entry::seen).map_err(Clone::clone);
        if let Ok(entry) = loaded
            && entry.version > 0
        {
            kept.put(stream, entry);
        }
        drop(kept);
        tell(waiters, &seen);
    }

    /// A stream that has no events yet.
    pub fn put_new(&self, stream: &Arc<str>, state: Arc<dyn State>) {
        self.lock().put(stream, Entry::new(state, 0, 0));
    }

    /// Takes the aggregates of a batch out of everybody's sight; those that are not here are left out.
    pub fn take<'a>(&self, streams: impl Iterator<Item = &'a Arc<str>>) -> HashMap<Arc<str>, Entry> {
        let mut kept = self.lock();
        let mut taken = HashMap::new();
        for stream in streams {
            let Some(slot) = kept.slots.get_mut(stream).filter(|slot| matches!(slot, Slot::Committed(_))) else {
                continue;
            };
            if let Slot::Committed(entry) = std::mem::replace(slot, Slot::Deciding(Vec::new())) {
                taken.insert(Arc::clone(stream), entry);
            }
        }
        taken
    }

    /// Gives them back as they are committed now.
    pub fn give_back(&self, taken: HashMap<Arc<str>, Entry>) {
        let mut waiting = Vec::new();
        let mut kept = self.lock();
        for (stream, entry) in taken {
            let seen = entry.seen();
            if let Some(Slot::Deciding(waiters)) = kept.put(&stream, entry)
                && !waiters.is_empty()
            {
                waiting.push((waiters, seen));
            }
        }
        drop(kept);
        waiting.into_iter().for_each(|(waiters, seen)| tell(waiters, &Ok(seen)));
    }

    /// A batch has failed: whose state is ahead of the database is forgotten. Who waits asks again.
    pub fn give_up<'a>(&self, touched: impl Iterator<Item = &'a Arc<str>>, taken: HashMap<Arc<str>, Entry>) {
        let mut taken = taken;
        {
            let mut kept = self.lock();
            for stream in touched {
                if taken.remove(stream).is_some() {
                    kept.slots.remove(stream);
                }
            }
        }
        self.give_back(taken);
    }

    /// Streams that nobody has asked for since the last call, and whose snapshot is due by their version and that of
    /// the last one. They count as having one then.
    pub fn idle(&self, most: usize, is_due: impl Fn(i64, i64) -> bool) -> Vec<Arc<str>> {
        let mut kept = self.lock();
        let tick = kept.tick;
        let since = std::mem::replace(&mut kept.looked, tick);
        let due = kept.slots.iter_mut().filter_map(|(stream, slot)| match slot {
            Slot::Committed(entry) if entry.used <= since && is_due(entry.version, entry.snapshot) => {
                entry.snapshot = entry.version;
                Some(Arc::clone(stream))
            }
            _ => None,
        });
        due.take(most).collect()
    }

    /// The writer is gone: who waits for it looks again, and reads for itself.
    pub fn clear(&self) {
        self.lock().slots.clear();
    }

    /// Bounds the memory.
    pub fn trim(&self) {
        let mut kept = self.lock();
        if kept.slots.len() <= STREAMS_MAX {
            return;
        }
        let mut used: Vec<u64> = kept.slots.values().filter_map(used).collect();
        used.sort_unstable();
        let Some(&oldest_kept) = used.len().checked_sub(STREAMS_KEPT).and_then(|place| used.get(place)) else { return };
        kept.slots.retain(|_, slot| used_since(slot, oldest_kept));
    }
}

fn used(slot: &Slot) -> Option<u64> {
    match slot {
        Slot::Committed(entry) => Some(entry.used),
        Slot::Deciding(_) | Slot::Loading(_) => None,
    }
}

fn used_since(slot: &Slot, tick: u64) -> bool {
    used(slot).is_none_or(|used| used >= tick)
}

impl Kept {
    fn put(&mut self, stream: &Arc<str>, mut entry: Entry) -> Option<Slot> {
        self.tick += 1;
        entry.used = self.tick;
        self.slots.insert(Arc::clone(stream), Slot::Committed(entry))
    }
}

fn tell(waiters: Vec<Waiter>, seen: &Result<Seen, Error>) {
    // One who has gone away is not told.
    waiters.into_iter().for_each(|waiter| drop(waiter.send(seen.clone())));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::is_due_when_idle;

    #[derive(Clone, Default)]
    struct Nothing;

    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    pub struct Never {}

    vocabulary::stored_events! {
        /// Nothing happens.
        pub enum NothingEvent { Never: 1 }
    }

    impl vocabulary::Decider for Nothing {
        type Command = ();
        type Event = NothingEvent;
        type Rejection = ();

        fn decide(&self, (): &()) -> Result<Vec<NothingEvent>, ()> {
            Ok(Vec::new())
        }

        fn evolve(&mut self, _: &NothingEvent) {}
    }

    fn put(aggregates: &Aggregates, stream: &Arc<str>, version: i64) {
        assert!(aggregates.begin_load(stream));
        aggregates.end_load(stream, Ok(Entry::new(Arc::new(Nothing), version, 0)));
    }

    #[test]
    fn a_long_history_that_nobody_asks_for_is_due_once() {
        let aggregates = Aggregates::default();
        let [long, short, used]: [Arc<str>; 3] = ["long".into(), "short".into(), "used".into()];
        for (stream, version) in [(&long, 500), (&short, 5), (&used, 500)] {
            put(&aggregates, stream, version);
        }
        let idle = || aggregates.idle(9, is_due_when_idle);
        assert!(idle().is_empty(), "all of them are new");
        assert!(matches!(aggregates.find(&used, |_| true), Found::Here(_)));
        assert_eq!(idle(), [Arc::clone(&long)]);
        assert_eq!(idle(), [Arc::clone(&used)], "nobody has asked for it since");
        assert!(idle().is_empty());
    }
}
