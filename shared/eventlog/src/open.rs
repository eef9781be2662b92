//! Opening: tables, migrations, the incarnation, and views that were not there before.

use std::collections::BTreeMap;
use std::sync::Arc;

use vocabulary::{Clock, Entropy};

use crate::known::{RECENT_MAX, Recent, Shelf};
use crate::{Error, Reader, Source, Store, Transaction, View, sql, view};

/// Events per step of the catching up of a view.
const VIEW_PAGE: u32 = 1_000;

/// The tables of those who follow other logs, and what the log's own tables have got since.
const FEED_TABLES: &[(&str, &str)] = &[
    ("eventlog_001_feed", include_str!("../migrations/001_feed.sql")),
    ("eventlog_002_parked_order", include_str!("../migrations/002_parked_order.sql")),
    ("eventlog_003_snapshot_events", include_str!("../migrations/003_snapshot_events.sql")),
    ("eventlog_004_cursor_events", include_str!("../migrations/004_cursor_events.sql")),
    ("eventlog_005_cursor_resume", include_str!("../migrations/005_cursor_resume.sql")),
    ("eventlog_006_parked_once", include_str!("../migrations/006_parked_once.sql")),
];

/// How a log is opened.
pub struct Options {
    /// The service whose log this is.
    pub service: &'static str,
    /// Where it is kept.
    pub store: Store,
    /// Name and SQL of the service's own tables, applied once each, in this order.
    pub migrations: &'static [(&'static str, &'static str)],
    /// The projections kept in this database.
    pub views: Vec<Arc<dyn View>>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where the incarnation comes from.
    pub entropy: Arc<dyn Entropy>,
}

/// What the writer begins with.
pub(crate) struct Start {
    pub head: i64,
    pub epoch: i64,
    pub recorded_at_us: i64,
    pub shelf: Shelf,
    pub views: Vec<Arc<dyn View>>,
    pub clock: Arc<dyn Clock>,
    /// When the lease was asked for.
    pub renewed_us: i64,
}

/// What opening a log has done to its tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Migrations that were applied, in their order.
    pub migrations: Vec<&'static str>,
    /// Views that were fed with what they had not seen.
    pub views: Vec<&'static str>,
}

/// Makes a log's tables those of this build, and feeds its views, without serving it.
///
/// # Errors
/// As [`crate::EventLog::open`].
pub async fn migrate(options: Options) -> Result<Migrated, Error> {
    let opened = open(options).await?;
    opened.reader.close().await;
    opened.connection.close().await?;
    Ok(opened.migrated)
}

/// An opened database.
pub(crate) struct Opened {
    pub migrated: Migrated,
    pub connection: Transaction,
    pub reader: Reader,
    pub recent: Recent,
    pub source: String,
    pub start: Start,
}

/// Opens the writer's connection and the readers.
pub(crate) async fn open(options: Options) -> Result<Opened, Error> {
    let mut connection = options.store.writer().await?;
    connection.begin().await?;
    let owned = connection.take_over(options.service, options.entropy.seed()).await?;
    let mut migrated = Migrated::default();
    if connection.has_tables() {
        migrated.migrations = apply(&mut connection, options.migrations).await?;
        for view in &options.views {
            if catch_up(&mut connection, view.as_ref(), owned.head).await? {
                migrated.views.push(view.name());
            }
        }
        retire_views(&mut connection, &options.views, owned.head).await?;
    }
    let shelf = Shelf::open(&mut connection, owned.recorded_at_us, options.clock.now_us()).await?;
    let recent = Recent::of(connection.newest_commands(RECENT_MAX).await?);
    // Old events may have taken longer than a lease lasts.
    let renewed_us = options.clock.now_us();
    connection.renew().await?;
    connection.commit().await?;
    let reader = options.store.reader().await?;
    let start = Start {
        head: owned.head,
        epoch: owned.epoch,
        recorded_at_us: owned.recorded_at_us,
        shelf,
        views: options.views,
        clock: options.clock,
        renewed_us,
    };
    let source = format!("{}@{}", options.service, owned.incarnation);
    Ok(Opened { migrated, connection, reader, recent, source, start })
}

/// All migrations of a log whose service has these, in the order in which they are applied.
fn all(own: &'static [(&'static str, &'static str)]) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    FEED_TABLES.iter().chain(own)
}

fn hash_of(text: &str) -> Vec<u8> {
    blake3::hash(text.as_bytes()).as_bytes().to_vec()
}

/// Migrations of a log whose service has these that were not applied, where `applied` were.
///
/// # Errors
/// When one was edited since, or is a newer build's.
fn missing(
    own: &'static [(&'static str, &'static str)],
    applied: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<(&'static str, &'static str)>, Error> {
    for (name, text) in all(own) {
        if applied.get(*name).is_some_and(|hash| *hash != hash_of(text)) {
            return Err(Error::MigrationEdited { name: (*name).to_owned() });
        }
    }
    match applied.keys().find(|name| !all(own).any(|(known, _)| known == name)) {
        Some(name) => Err(Error::Newer { name: name.clone() }),
        None => Ok(all(own).filter(|(name, _)| !applied.contains_key(*name)).copied().collect()),
    }
}

async fn applied(source: impl Source<'_>) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let rows: Vec<(String, Vec<u8>)> = sql("SELECT name, hash FROM log_migrations").fetch_all(source).await?;
    Ok(rows.into_iter().collect())
}

/// The migrations of this build that a log that nobody has open lacks.
///
/// # Errors
/// When one was edited since, or is a newer build's.
pub(crate) async fn lacking(
    reader: &Reader,
    own: &'static [(&'static str, &'static str)],
) -> Result<Vec<&'static str>, Error> {
    Ok(missing(own, &applied(reader).await?)?.into_iter().map(|(name, _)| name).collect())
}

/// Applies what was not applied before. Nothing is, when anything that was applied is not known here: what a newer
/// build's tables mean is not for this one to guess.
pub(crate) async fn apply(
    tx: &mut Transaction,
    own: &'static [(&'static str, &'static str)],
) -> Result<Vec<&'static str>, Error> {
    let missing = missing(own, &applied(&mut *tx).await?)?;
    for (name, text) in &missing {
        tx.script(text).await?;
        let put = sql("INSERT INTO log_migrations(name, hash) VALUES ($1, $2)");
        put.bind(*name).bind(hash_of(text)).execute(tx).await?;
    }
    Ok(missing.into_iter().map(|(name, _)| name).collect())
}

/// Feeds a view with what it has not seen, and answers whether there was anything. A live view has seen everything,
/// whatever its row's position says.
async fn catch_up(tx: &mut Transaction, view: &dyn View, head: i64) -> Result<bool, Error> {
    let get = sql("SELECT position, live FROM log_views WHERE name = $1").bind(view.name());
    let known: Option<(i64, bool)> = get.fetch_optional(&mut *tx).await?;
    let mut position = match known {
        Some((_, true)) => head,
        Some((position, false)) => position,
        None => 0,
    };
    let is_behind = position < head;
    while position < head {
        let page = tx.page(position, VIEW_PAGE).await?;
        let Some(last) = page.last() else { break };
        position = last.position;
        view::apply(view, tx, &page).await?;
    }
    let put = sql("INSERT INTO log_views(name, position, live) VALUES ($1, $2, 1)
                   ON CONFLICT(name) DO UPDATE SET live = 1");
    put.bind(view.name()).bind(head).execute(tx).await?;
    Ok(is_behind)
}

/// Remembers how far the views have come that are not registered any more.
async fn retire_views(tx: &mut Transaction, views: &[Arc<dyn View>], head: i64) -> Result<(), Error> {
    let live: Vec<String> = sql("SELECT name FROM log_views WHERE live = 1").fetch_all(&mut *tx).await?;
    for name in live.iter().filter(|name| !views.iter().any(|view| view.name() == name.as_str())) {
        let put = sql("UPDATE log_views SET live = 0, position = $1 WHERE name = $2");
        put.bind(head).bind(name).execute(tx).await?;
    }
    Ok(())
}
