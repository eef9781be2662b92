//! Tables of what runs are created with: each wants this one event, and writes a row of it or none.

use std::future::Future;

use eventlog::{BoxFuture, Error, RecordedEvent, Transaction, View, ViewTable};

use crate::run::{self, RunCreated, RunEvent};

/// Such a table.
pub trait Creations: Send + Sync + 'static {
    /// The view's name; stable.
    const NAME: &'static str;
    /// The table.
    const TABLES: &'static [ViewTable];

    /// Takes a new run in.
    fn take(tx: &mut Transaction, created: &RunCreated) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The view of such a table.
pub struct CreationsView<T>(pub T);

impl<T: Creations> View for CreationsView<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn tables(&self) -> &'static [ViewTable] {
        T::TABLES
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        event.kind == "RunCreated" && run::of_stream(&event.stream).is_some()
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for event in events.iter().filter(|event| self.wants(event)) {
                if let RunEvent::RunCreated(created) = event.decode()? {
                    T::take(tx, &created).await?;
                }
            }
            Ok(())
        })
    }
}

/// The code of a new run's job, if it has one.
pub fn code_of(created: &RunCreated) -> Option<crate::objects::Hash> {
    let code = created.job.as_ref()?.code_sha256.as_deref()?;
    crate::objects::Hash::parse(code).ok()
}
