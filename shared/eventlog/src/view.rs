//! Tables for queries, kept in the transaction of the events.

use crate::work::panic_text;
use crate::{BoxFuture, Error, RecordedEvent, Transaction};
use futures_util::FutureExt;

/// A table that a view writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewTable {
    /// The view alone writes it: all its rows come from events.
    Own(&'static str),
    /// Others write rows there, too, of which no event tells: a rebuild adds what the view would have written and is
    /// not there, and leaves the rest alone.
    Shared(&'static str),
}

impl ViewTable {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Own(name) | Self::Shared(name) => name,
        }
    }
}

/// A projection in the log's own database. It is never behind: its rows commit together with the events.
///
/// A view that is new to a database is first fed with the whole history. Changed tables want a new name and a
/// migration. What it makes of the same events is the same rows, however they are cut into batches, and it reads no
/// tables but its own: else it could not be rebuilt beside itself ([`crate::rebuild`]).
pub trait View: Send + Sync {
    /// The view's name; stable.
    fn name(&self) -> &'static str;

    /// The tables that it writes. Each has a primary key.
    fn tables(&self) -> &'static [ViewTable];

    /// Whether the event changes anything here. A batch that no view wants is written in one call instead of a
    /// transaction of several; [`View::apply`] still sees such events beside others.
    fn wants(&self, _event: &RecordedEvent) -> bool {
        true
    }

    /// Takes events in, in position order. Called in the append's transaction, before the rows of the events
    /// themselves are written. An error undoes the command that led to it.
    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>>;
}

/// Runs a view; a panic in it is an error of it.
pub(crate) async fn apply(view: &dyn View, tx: &mut Transaction, events: &[RecordedEvent]) -> Result<(), Error> {
    match std::panic::AssertUnwindSafe(view.apply(tx, events)).catch_unwind().await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if error.is_systemic() => Err(error),
        Ok(Err(error)) => Err(Error::View { view: view.name().to_owned(), message: error.to_string() }),
        Err(panic) => Err(Error::View { view: view.name().to_owned(), message: panic_text(panic.as_ref()) }),
    }
}
