//! A log in memory: the same promises with plain collections. It is what the other stores are compared with.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::reader::Take;
use super::rows::{CommandRow, CursorAt, Fence, Rows};
use super::transaction::Owned;
use crate::known::Known;
use crate::snapshots::SnapshotRow;
use crate::sql::{Insert, Row, Statement};
use crate::{Committed, CursorMove, Error, RecordedEvent};

/// A log that is gone with its last handle. A handle opens it again, as a file would be.
#[derive(Clone, Default)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
}

#[derive(Default)]
struct Tables {
    owner: Option<(String, String)>,
    epoch: i64,
    events: Vec<RecordedEvent>,
    /// The places of a stream's events in `events`.
    streams: HashMap<String, Vec<usize>>,
    commands: HashMap<Uuid, CommandRow>,
    cursors: BTreeMap<(String, String, i32), CursorAt>,
    /// With the id of the event at their version.
    snapshots: HashMap<String, (SnapshotRow, Uuid)>,
}

fn no_tables<T>() -> Result<T, Error> {
    Err(Error::Decode("a log in memory has no tables for views and records".to_owned()))
}

impl MemoryStore {
    pub(super) fn writer(&self) -> MemoryWriter {
        MemoryWriter { store: self.clone(), open: None }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn all(&self, _: Statement) -> Result<Vec<Row>, Error> {
        no_tables()
    }

    pub(super) async fn integrity(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    pub(super) async fn has_table(&self, _: &str) -> Result<bool, Error> {
        Ok(false)
    }

    pub(super) async fn each(&self, _: Statement, _: &mut Take<'_>) -> Result<(), Error> {
        no_tables()
    }

    pub(super) async fn first(&self, _: Statement) -> Result<Option<Row>, Error> {
        no_tables()
    }

    pub(super) async fn page(&self, after: i64, limit: u32) -> Result<Vec<RecordedEvent>, Error> {
        let skipped = usize::try_from(after).unwrap_or(0);
        Ok(self.tables().events.iter().skip(skipped).take(limit as usize).cloned().collect())
    }

    pub(super) async fn stream(&self, stream: &str, after: i64, limit: u32) -> Result<Vec<RecordedEvent>, Error> {
        let tables = self.tables();
        let places = tables.streams.get(stream).map(Vec::as_slice).unwrap_or_default();
        let places = places.iter().skip(usize::try_from(after).unwrap_or(0)).take(limit as usize);
        Ok(places.map(|&place| tables.events[place].clone()).collect())
    }

    pub(super) async fn snapshot(&self, stream: &str) -> Result<Option<SnapshotRow>, Error> {
        let tables = self.tables();
        let found =
            tables.snapshots.get(stream).filter(|(row, event)| tables.event_id(stream, row.version) == Some(*event));
        Ok(found.map(|(row, _)| row.clone()))
    }

    pub(super) async fn cursor(&self, projection: &str, source: &str) -> Result<Option<i64>, Error> {
        Ok(self.tables().cursors.get(&(projection.to_owned(), source.to_owned(), 0)).map(|at| at.position))
    }

    pub(super) async fn cursors(&self, projection: &str) -> Result<Vec<CursorMove>, Error> {
        let tables = self.tables();
        let own = tables.cursors.iter().filter(|((of, ..), _)| of == projection);
        type Row<'a> = (&'a (String, String, i32), &'a CursorAt);
        let cursor = |((projection, source, partition), at): Row<'_>| CursorMove {
            projection: projection.clone(),
            source: source.clone(),
            partition: *partition,
            position: at.position,
            event_id: at.event_id,
            resume: at.resume,
        };
        Ok(own.map(cursor).collect())
    }
}

/// The writer's side, with what its transaction has written so far.
pub(super) struct MemoryWriter {
    store: MemoryStore,
    open: Option<(Fence, Rows)>,
}

impl MemoryWriter {
    pub async fn execute(&mut self, _: Statement) -> Result<u64, Error> {
        no_tables()
    }

    pub async fn insert(&mut self, _: Insert) -> Result<(), Error> {
        no_tables()
    }

    pub async fn all(&mut self, _: Statement) -> Result<Vec<Row>, Error> {
        no_tables()
    }

    pub async fn first(&mut self, _: Statement) -> Result<Option<Row>, Error> {
        no_tables()
    }

    /// There are no tables to migrate.
    pub async fn script(&mut self, _: &'static str) -> Result<(), Error> {
        Ok(())
    }

    pub async fn begin(&mut self) -> Result<(), Error> {
        self.open = None;
        Ok(())
    }

    pub async fn commit(&mut self) -> Result<(), Error> {
        let Some((fence, rows)) = self.open.take() else { return Ok(()) };
        self.store.tables().take(fence, rows)
    }

    pub async fn rollback(&mut self) {
        self.open = None;
    }

    /// A part has no rows that could be undone.
    pub async fn part(&mut self, _: &'static str) -> Result<(), Error> {
        Ok(())
    }

    pub async fn write(&mut self, fence: Fence, rows: Rows) -> Result<(), Error> {
        self.store.tables().check(fence, &rows)?;
        self.open = Some((fence, rows));
        Ok(())
    }

    pub async fn write_alone(&mut self, fence: Fence, rows: Rows) -> Result<(), Error> {
        self.store.tables().take(fence, rows)
    }

    pub async fn take_over(&mut self, service: &str, seed: u64) -> Result<Owned, Error> {
        let mut tables = self.store.tables();
        let (found, incarnation) =
            tables.owner.get_or_insert_with(|| (service.to_owned(), format!("{seed:016x}"))).clone();
        if found != service {
            return Err(Error::OtherService { expected: service.to_owned(), found });
        }
        tables.epoch += 1;
        let recorded_at_us = tables.events.last().map_or(0, |event| event.recorded_at_us);
        Ok(Owned { incarnation, epoch: tables.epoch, head: tables.head(), recorded_at_us })
    }

    pub async fn known(&mut self, ids: &[Uuid]) -> Result<HashMap<Uuid, Known>, Error> {
        let tables = self.store.tables();
        let found = ids.iter().filter_map(|id| Some((*id, tables.commands.get(id)?)));
        Ok(found.map(|(id, row)| (id, known(row))).collect())
    }

    pub async fn newest_commands(&mut self, events: usize) -> Result<Vec<Uuid>, Error> {
        let tables = self.store.tables();
        let older = tables.events.len().saturating_sub(events);
        Ok(tables.events[older..].iter().map(|event| event.command_id).collect())
    }

    pub async fn versions(&mut self, streams: &[Arc<str>]) -> Result<HashMap<String, i64>, Error> {
        let tables = self.store.tables();
        let found = streams.iter().filter_map(|stream| tables.streams.get_key_value(stream.as_ref()));
        Ok(found.map(|(stream, places)| (stream.clone(), places.len() as i64)).collect())
    }

    pub async fn put_snapshot(&mut self, row: SnapshotRow) -> Result<(), Error> {
        let mut tables = self.store.tables();
        if let Some(event) = tables.event_id(&row.stream, row.version) {
            tables.snapshots.insert(row.stream.as_ref().to_owned(), (row, event));
        }
        Ok(())
    }

    pub async fn page(&mut self, after: i64, limit: u32) -> Result<Vec<RecordedEvent>, Error> {
        self.store.page(after, limit).await
    }

    pub async fn stream(&mut self, stream: &str, after: i64, limit: u32) -> Result<Vec<RecordedEvent>, Error> {
        self.store.stream(stream, after, limit).await
    }

    pub async fn forget(&mut self, before_us: i64) -> Result<(), Error> {
        self.store.tables().commands.retain(|_, row| row.at_us >= before_us);
        Ok(())
    }

    pub async fn tidy(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

fn known(row: &CommandRow) -> Known {
    Known {
        fingerprint: row.fingerprint,
        committed: Committed {
            position: row.last_position,
            version: row.version,
            events: usize::try_from(row.last_position + 1 - row.first_position).unwrap_or(0),
            repeated: true,
            reply: row.reply.clone(),
        },
    }
}

impl Tables {
    fn head(&self) -> i64 {
        self.events.len() as i64
    }

    fn event_id(&self, stream: &str, version: i64) -> Option<Uuid> {
        let places = self.streams.get(stream)?;
        let place = places.get(usize::try_from(version - 1).ok()?)?;
        Some(self.events[*place].event_id)
    }

    /// What every store refuses: another writer's log, and keys that are taken.
    fn check(&self, fence: Fence, rows: &Rows) -> Result<(), Error> {
        if (fence.epoch, fence.from) != (self.epoch, self.head()) {
            return Err(Error::Deposed);
        }
        let mut next: HashMap<&str, i64> = HashMap::new();
        for (event, position) in rows.events.iter().zip(fence.from + 1..) {
            let next = next
                .entry(&event.stream)
                .or_insert_with(|| self.streams.get(&event.stream).map_or(0, |places| places.len() as i64));
            *next += 1;
            if (event.position, event.version) != (position, *next) {
                return Err(Error::Taken(format!("version {} of '{}'", event.version, event.stream)));
            }
        }
        match rows.commands.iter().find(|row| self.commands.contains_key(&row.command_id)) {
            Some(row) => Err(Error::Taken(format!("the command id {}", row.command_id))),
            None => Ok(()),
        }
    }

    fn take(&mut self, fence: Fence, rows: Rows) -> Result<(), Error> {
        self.check(fence, &rows)?;
        for event in rows.events {
            self.streams.entry(event.stream.clone()).or_default().push(self.events.len());
            self.events.push(event);
        }
        self.commands.extend(rows.commands.into_iter().map(|row| (row.command_id, row)));
        for (key, to) in rows.cursors {
            self.cursors.entry(key).or_insert(to).move_to(to);
        }
        Ok(())
    }
}
