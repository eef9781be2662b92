//! The event log: the only way to change an aggregate, and the place where its history is kept.
//!
//! One writer task per database takes what is queued, decides every command in queue order on the state in memory,
//! writes all winners in one transaction and answers after the commit. So positions are dense and equal to the commit
//! order, many commands on one stream share a commit, and the events table is its own outbox.
//!
//! - [`EventLog::execute`] decides a command; [`EventLog::record`] does so together with rows of the caller's own
//!   tables.
//! - [`EventLog::inspect`] looks at the committed state of an aggregate, without the writer.
//! - Where several processes reach a log, one holds it under a lease ([`Store::held_by`]); the others wait, and may
//!   read it meanwhile ([`Stores::read_only`]).
//! - [`EventLog::ended`] and [`EventLog::health`] tell when nothing can be written any more.
//! - [`EventLog::read`] and [`EventLog::head`] are the feed: a page after a position, and a watch that says when to
//!   ask again.
//! - A [`View`] keeps tables for queries, written in the transaction of the events; [`rebuild`] makes them anew beside
//!   themselves, compares, and mends.
//!
//! A log is kept in a [`Store`]. Services name none: they have a [`Transaction`] and a [`Reader`], and [`sql`] that
//! every store takes.

mod aggregates;
mod append;
mod beside;
mod content;
mod context;
mod error;
mod event;
mod examine;
#[cfg(feature = "fail-points")]
mod fail_points;
mod identity;
mod known;
mod lease;
mod load;
mod log;
mod open;
mod parked;
mod rebuild;
mod snapshots;
mod sql;
mod store;
mod tail;
#[cfg(feature = "postgres")]
mod transfer;
mod view;
mod work;
mod writer;

// The dependency only pins the version of the bundled SQLite: 3.51.3 is the first without the WAL-reset corruption.
use libsqlite3_sys as _;

pub use content::Content;
pub use context::{Committed, Context, CursorMove};
pub use error::{Error, ExecuteError, RecordError};
pub use event::RecordedEvent;
pub use examine::{Examined, ExaminedCursor};
pub use futures_util::future::BoxFuture;
pub use identity::command_id;
pub use lease::Holder;
pub use log::EventLog;
pub use open::{Migrated, Options, migrate};
pub use rebuild::{Compared, Differences, Rebuilding, Rebuilt, RebuiltView, rebuild};
pub use sql::{Column, FromRow, Insert, Row, Source, Statement, Value, insert, sql};
pub use store::{MemoryStore, Reader, Store, Stores, Transaction};
#[cfg(feature = "postgres")]
pub use transfer::{Transfer, contents};
pub use view::{View, ViewTable};
pub use work::Recorded;
