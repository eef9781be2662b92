//! How many jobs have ended in which way, and how many attempts were preempted, ever.

use eventlog::{BoxFuture, Error, Reader, RecordedEvent, Transaction, View, ViewTable, sql};
use vocabulary::job::RequeueCause;

use crate::job::JobEvent;

/// One row a name: `ended:OUTCOME`, `preempted`.
pub(super) struct Totals;

/// Attempts that ended since their node was taken away.
pub(crate) const PREEMPTED: &str = "preempted";
/// Stands before the outcome of jobs that ended in that way.
pub(crate) const ENDED: &str = "ended:";

impl View for Totals {
    fn name(&self) -> &'static str {
        "totals"
    }

    fn tables(&self) -> &'static [ViewTable] {
        &[ViewTable::Own("totals")]
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        event.kind == "JobEnded" || event.kind == "JobRequeued"
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for event in events.iter().filter(|event| self.wants(event)) {
                let name = match event.decode()? {
                    JobEvent::JobEnded(event) => format!("{ENDED}{}", event.end.outcome),
                    JobEvent::JobRequeued(event) if event.cause == RequeueCause::Preempted => PREEMPTED.to_owned(),
                    _ => continue,
                };
                sql("INSERT INTO totals(name, count) VALUES ($1, 1)
                     ON CONFLICT(name) DO UPDATE SET count = totals.count + 1")
                .bind(name)
                .execute(&mut *tx)
                .await?;
            }
            Ok(())
        })
    }
}

/// All of them.
pub(crate) async fn totals(reader: &Reader) -> Result<Vec<(String, i64)>, Error> {
    sql("SELECT name, count FROM totals ORDER BY name").fetch_all(reader).await
}
