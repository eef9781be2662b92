//! A look at a log from outside of its service, which need not run: what it is, how far it has come, and whether it is
//! sound. Nothing is changed.

use uuid::Uuid;

use crate::{Error, Reader, Store, open, sql};

/// Faults of one kind that are told; a database that is damaged everywhere says no more with all of them.
pub(crate) const FAULTS_MAX: i64 = 20;

/// What a log's database says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// The service that it belongs to.
    pub service: String,
    /// Which log of that service it is.
    pub incarnation: String,
    /// The position of the last event.
    pub head: i64,
    /// How far this service has come in the logs of others.
    pub cursors: Vec<ExaminedCursor>,
}

/// How far a projection has come in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExaminedCursor {
    /// Which projection.
    pub projection: String,
    /// `service`, or `service@incarnation`.
    pub source: String,
    /// The last position that it has taken in.
    pub position: i64,
    /// The event that stood there, where that is known.
    pub event_id: Option<Uuid>,
}

impl Store {
    /// Reads what a log says about itself; nothing where there is none yet.
    ///
    /// # Errors
    /// When it is no log, or it cannot be read.
    pub async fn examine(&self) -> Result<Option<Examined>, Error> {
        if !self.is_there().await? {
            return Ok(None);
        }
        let reader = self.reader().await?;
        let examined = examine(&reader).await;
        reader.close().await;
        examined.map(Some)
    }

    /// The migrations of this build that a log lacks; all of them are there after a start, or [`crate::migrate`].
    ///
    /// # Errors
    /// When it has one of a newer build, or one that was edited since, or cannot be read.
    pub async fn lacking(
        &self,
        migrations: &'static [(&'static str, &'static str)],
    ) -> Result<Vec<&'static str>, Error> {
        let reader = self.reader().await?;
        let lacking = open::lacking(&reader, migrations).await;
        reader.close().await;
        lacking
    }

    /// The event at a position.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn event_at(&self, position: i64) -> Result<Option<Uuid>, Error> {
        let reader = self.reader().await?;
        let page = reader.page(position - 1, 1).await;
        reader.close().await;
        Ok(page?.first().filter(|event| event.position == position).map(|event| event.event_id))
    }

    /// Makes another incarnation of a log that was set back: its positions come again with other events, so that
    /// whoever has followed it must not go on as if nothing had happened. No service has it open.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn renew(&self, seed: u64) -> Result<(), Error> {
        let mut tx = self.writer().await?;
        tx.begin().await?;
        let renew = sql("UPDATE log_meta SET value = $1 WHERE key = 'incarnation'").bind(format!("{seed:016x}"));
        let renewed = renew.execute(&mut tx).await.map(drop);
        match renewed {
            Ok(()) => tx.commit().await?,
            Err(error) => {
                tx.rollback().await;
                return Err(error);
            }
        }
        tx.close().await
    }

    /// Reads the whole log and answers what is wrong with it, in words; nothing when it is sound. Takes seconds for
    /// each gigabyte.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn faults(&self) -> Result<Vec<String>, Error> {
        let reader = self.reader().await?;
        let mut found = Vec::new();
        match reader.integrity().await {
            Ok(faults) => found.extend(faults),
            Err(error) => found.push(error.to_string()),
        }
        match laws(&reader).await {
            Ok(faults) => found.extend(faults),
            Err(error) => found.push(format!("its events cannot all be read: {error}")),
        }
        reader.close().await;
        Ok(found)
    }
}

pub(crate) async fn examine(reader: &Reader) -> Result<Examined, Error> {
    let meta = "SELECT value FROM log_meta WHERE key = $1";
    let service = sql(meta).bind("service").fetch_one(reader).await?;
    let incarnation = sql(meta).bind("incarnation").fetch_one(reader).await?;
    // Cursors before the head: while a service runs, both only grow.
    let cursors = cursors(reader).await?;
    let head = sql("SELECT last_position FROM log_head WHERE id = 1").fetch_one(reader).await?;
    Ok(Examined { service, incarnation, head, cursors })
}

async fn cursors(reader: &Reader) -> Result<Vec<ExaminedCursor>, Error> {
    // A database that no build with events of cursors has opened yet has none.
    let known = "SELECT count(*) FROM log_migrations WHERE name = 'eventlog_004_cursor_events'";
    if sql(known).fetch_one::<i64>(reader).await? == 0 {
        let get = "SELECT projection, source, last_position FROM projection_cursor ORDER BY projection, source";
        let rows: Vec<(String, String, i64)> = sql(get).fetch_all(reader).await?;
        let cursor = |(projection, source, position)| ExaminedCursor { projection, source, position, event_id: None };
        return Ok(rows.into_iter().map(cursor).collect());
    }
    let get = "SELECT projection, source, last_position, event_id FROM projection_cursor ORDER BY projection, source";
    let rows: Vec<(String, String, i64, Option<Vec<u8>>)> = sql(get).fetch_all(reader).await?;
    let cursor = |(projection, source, position, event_id): (String, String, i64, Option<Vec<u8>>)| {
        let event_id = event_id.and_then(|id| Uuid::from_slice(&id).ok());
        ExaminedCursor { projection, source, position, event_id }
    };
    Ok(rows.into_iter().map(cursor).collect())
}

/// What holds for every log: positions and versions have no gaps, and the head is the last event.
async fn laws(reader: &Reader) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let head: i64 = sql("SELECT last_position FROM log_head WHERE id = 1").fetch_one(reader).await?;
    let (count, last): (i64, i64) =
        sql("SELECT count(*), coalesce(max(position), 0) FROM events").fetch_one(reader).await?;
    // A service that runs has appended since its head was read.
    if last < head {
        found.push(Error::Damaged { head, last }.to_string());
    }
    if count != last {
        found.push(format!("there are {count} events, and the last one is at position {last}"));
    }
    let torn = "SELECT stream_id, count(*), max(version) FROM events GROUP BY stream_id
        HAVING count(*) <> max(version) OR min(version) <> 1 ORDER BY stream_id LIMIT $1";
    let torn: Vec<(String, i64, i64)> = sql(torn).bind(FAULTS_MAX).fetch_all(reader).await?;
    let shown = |(stream, count, version)| format!("stream {stream:?} has {count} events up to version {version}");
    found.extend(torn.into_iter().map(shown));
    found.extend(snapshots_ahead(reader).await?);
    Ok(found)
}

/// Snapshots beyond the end of their streams: the log was set back, and they know what it has lost.
async fn snapshots_ahead(reader: &Reader) -> Result<Vec<String>, Error> {
    // A database that no build with snapshots has opened yet has none.
    if !reader.has_table("snapshots").await? {
        return Ok(Vec::new());
    }
    let ahead = "SELECT stream_id, version, last FROM (
            SELECT stream_id, version,
                coalesce((SELECT max(own.version) FROM events AS own
                    WHERE own.stream_id = snapshots.stream_id), 0) AS last
            FROM snapshots) AS compared
         WHERE version > last ORDER BY stream_id LIMIT $1";
    let ahead: Vec<(String, i64, i64)> = sql(ahead).bind(FAULTS_MAX).fetch_all(reader).await?;
    let shown = |(stream, version, last)| {
        format!("the snapshot of stream {stream:?} is at version {version}, its last event at {last}")
    };
    Ok(ahead.into_iter().map(shown).collect())
}
