//! Which workspaces have an object. One is had by who has put it, by who has it as an artifact of a run, and as the
//! code of a run's job. The first two are written where they are done; what this view adds is the code of jobs, so that
//! what older histories refer to is had too.

use eventlog::{BoxFuture, Error, Reader, RecordedEvent, Transaction, View, sql};

use crate::objects::Hash;
use crate::run::{self, RunEvent};

/// The view.
pub struct ObjectOwnersView;

impl View for ObjectOwnersView {
    fn name(&self) -> &'static str {
        "object_owners"
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        event.kind == "RunCreated" && run::of_stream(&event.stream).is_some()
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for event in events.iter().filter(|event| self.wants(event)) {
                let RunEvent::RunCreated(created) = event.decode()? else { continue };
                let code = created.job.and_then(|job| job.code_sha256).unwrap_or_default();
                if let Ok(hash) = Hash::parse(&code) {
                    give(tx, &created.subject.workspace, &hash).await?;
                }
            }
            Ok(())
        })
    }
}

/// From now on the workspace has the object.
///
/// # Errors
/// When the row cannot be written.
pub async fn give(tx: &mut Transaction, workspace: &str, hash: &Hash) -> Result<(), Error> {
    sql("INSERT INTO object_owners(workspace, sha256) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(workspace)
        .bind(hash.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

/// Whether the workspace has the object.
///
/// # Errors
/// When the rows cannot be read.
pub async fn has(reader: &Reader, workspace: &str, hash: &Hash) -> Result<bool, Error> {
    let count: i64 = sql("SELECT count(*) FROM object_owners WHERE workspace = $1 AND sha256 = $2")
        .bind(workspace)
        .bind(hash.as_str())
        .fetch_one(reader)
        .await?;
    Ok(count > 0)
}
