//! What a batch writes into the log's own tables.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::RecordedEvent;
use crate::identity::FINGERPRINT_BYTES;

/// A command to be remembered.
pub(crate) struct CommandRow {
    pub command_id: Uuid,
    pub fingerprint: [u8; FINGERPRINT_BYTES],
    pub first_position: i64,
    pub last_position: i64,
    pub version: i64,
    pub reply: Vec<u8>,
    pub at_us: i64,
}

/// What a batch writes.
#[derive(Default)]
pub(crate) struct Rows {
    pub events: Vec<RecordedEvent>,
    pub commands: Vec<CommandRow>,
    /// By projection, source and partition.
    pub cursors: BTreeMap<(String, String, i32), CursorAt>,
}

/// Where a cursor stands.
#[derive(Clone, Copy)]
pub(crate) struct CursorAt {
    pub position: i64,
    /// The event that stands there, where it is known.
    pub event_id: Option<Uuid>,
    pub resume: i64,
}

impl CursorAt {
    /// Goes on to another place; never back.
    pub fn move_to(&mut self, to: Self) {
        if to.position > self.position {
            *self = to;
        }
    }
}

impl Rows {
    pub fn is_empty(&self) -> bool {
        self.sizes() == [0; 3]
    }

    pub fn sizes(&self) -> [usize; 3] {
        [self.events.len(), self.commands.len(), self.cursors.len()]
    }
}

/// Whose log it is, and from where to where its head moves.
#[derive(Clone, Copy)]
pub(crate) struct Fence {
    pub epoch: i64,
    pub from: i64,
    pub to: i64,
}
