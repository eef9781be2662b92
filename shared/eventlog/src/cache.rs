//! Aggregates in memory with their versions, so that a hot stream is not folded again for every command.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::insert::pieces;
use crate::work::State;
use crate::{Error, read};

/// Aggregates kept in memory.
const STREAMS_MAX: usize = 8_192;
/// The least recently used part that goes when there are too many: a quarter, so that sorting is rare.
const STREAMS_KEPT: usize = STREAMS_MAX / 4 * 3;
/// Events per step of a cold load.
const LOAD_PAGE: u32 = 1_000;

/// An aggregate with its version.
pub(crate) struct Entry {
    pub state: Box<dyn State>,
    pub version: i64,
    used: u64,
}

/// The aggregates that were used last.
#[derive(Default)]
pub(crate) struct Cache {
    entries: HashMap<Arc<str>, Entry>,
    tick: u64,
}

impl Cache {
    pub fn get(&mut self, stream: &str) -> Option<&mut Entry> {
        self.tick += 1;
        let entry = self.entries.get_mut(stream)?;
        entry.used = self.tick;
        Some(entry)
    }

    pub fn put(&mut self, stream: Arc<str>, state: Box<dyn State>, version: i64) {
        self.tick += 1;
        self.entries.insert(stream, Entry { state, version, used: self.tick });
    }

    pub fn discard(&mut self, stream: &str) {
        self.entries.remove(stream);
    }

    /// Bounds the memory. Not called inside a batch, whose states may be ahead of the database.
    pub fn trim(&mut self) {
        if self.entries.len() <= STREAMS_MAX {
            return;
        }
        let mut used: Vec<u64> = self.entries.values().map(|entry| entry.used).collect();
        used.sort_unstable();
        let oldest_kept = used[used.len() - STREAMS_KEPT];
        self.entries.retain(|_, entry| entry.used >= oldest_kept);
    }
}

/// Folds a stream's history into a state and answers its version.
pub(crate) async fn load(connection: &mut SqliteConnection, stream: &str, state: &mut dyn State) -> Result<i64, Error> {
    let mut version = 0;
    loop {
        let page = read::stream(connection, stream, version, LOAD_PAGE).await?;
        for event in &page {
            version = event.version;
            state.fold(&event.kind, event.schema, &event.data)?;
        }
        if (page.len() as u64) < u64::from(LOAD_PAGE) {
            return Ok(version);
        }
    }
}

/// Which of the streams have events: new streams need no load each.
pub(crate) async fn existing(
    connection: &mut SqliteConnection,
    streams: &[Arc<str>],
) -> Result<std::collections::HashSet<String>, Error> {
    let mut found = std::collections::HashSet::new();
    for piece in pieces(streams) {
        let places = vec!["?"; piece.len()].join(",");
        let sql = format!("SELECT stream_id FROM events WHERE version = 1 AND stream_id IN ({places})");
        let mut query = sqlx::query_scalar(AssertSqlSafe(sql));
        for stream in piece {
            query = query.bind(Arc::clone(stream));
        }
        let names: Vec<String> = query.fetch_all(&mut *connection).await?;
        found.extend(names);
    }
    Ok(found)
}
