//! Commands whose aggregate is being read. They wait here, in their order, so that nobody else's do.

use std::collections::HashMap;
use std::sync::Arc;

use crate::Error;
use crate::log::QUEUE_CAPACITY;
use crate::work::{Answer, Append};

/// See the module.
#[derive(Default)]
pub(crate) struct Parked {
    streams: HashMap<Arc<str>, Vec<Append>>,
    count: usize,
}

impl Parked {
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Whether commands of this stream wait, so that later ones must wait behind them.
    pub fn has(&self, stream: &Arc<str>) -> bool {
        self.streams.contains_key(stream)
    }

    /// Takes a command in, or refuses it when as many wait as a full queue holds.
    pub fn put(&mut self, append: Append) {
        if self.count >= QUEUE_CAPACITY {
            return append.work.answer(Answer::Failed(Error::Overloaded));
        }
        self.count += 1;
        self.streams.entry(Arc::clone(&append.stream)).or_default().push(append);
    }

    /// What has waited for a stream.
    pub fn take(&mut self, stream: &Arc<str>) -> Vec<Append> {
        let waited = self.streams.remove(stream).unwrap_or_default();
        self.count -= waited.len();
        waited
    }
}
