//! The list of workspaces.

use eventlog::{BoxFuture, Error, RecordedEvent, Transaction, View, ViewTable, sql};

use crate::workspace::STREAM;

/// One row a workspace, for the listing.
pub(crate) struct Listed;

impl View for Listed {
    fn name(&self) -> &'static str {
        "workspaces_listed"
    }

    fn tables(&self) -> &'static [ViewTable] {
        &[ViewTable::Own("workspaces_listed")]
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for event in events {
                let name = event.stream.strip_prefix(STREAM).unwrap_or_default();
                if event.kind == "WorkspaceDeleted" {
                    sql("DELETE FROM workspaces_listed WHERE name = $1").bind(name).execute(&mut *tx).await?;
                }
                if event.kind != "WorkspaceCreated" {
                    continue;
                }
                let put = "INSERT INTO workspaces_listed(name, created_at) VALUES ($1, $2)
                           ON CONFLICT(name) DO UPDATE SET created_at = excluded.created_at";
                sql(put).bind(name).bind(event.recorded_at_us).execute(&mut *tx).await?;
            }
            Ok(())
        })
    }
}
