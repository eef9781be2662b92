//! The read models: which clusters there ever were, every job, and where its attempts were placed.

pub(crate) mod endpoints;
mod jobs;
pub(crate) mod released_checkpoints;
mod totals;

use std::sync::Arc;

pub(crate) use jobs::{
    JobRow, JobsOf, PlacementRow, each_job, job_by_id, live_counts, live_jobs, placements_of, runs_on,
};
pub(crate) use totals::{ENDED, PREEMPTED, totals};

use eventlog::{BoxFuture, Error, Reader, RecordedEvent, Transaction, View, ViewTable, sql};

use crate::stream::ClusterName;

/// The views that are kept in the transaction of the events.
pub(crate) fn all() -> Vec<Arc<dyn View>> {
    vec![Arc::new(Clusters), Arc::new(jobs::Jobs), Arc::new(endpoints::EndpointsListed), Arc::new(totals::Totals)]
}

/// The names of clusters, to find their streams again.
struct Clusters;

impl View for Clusters {
    fn name(&self) -> &'static str {
        "clusters"
    }

    fn tables(&self) -> &'static [ViewTable] {
        &[ViewTable::Own("clusters")]
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        event.kind == "ClusterCreated"
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for event in events.iter().filter(|event| self.wants(event)) {
                let Some(name) = ClusterName::of_stream(&event.stream) else { continue };
                sql("INSERT INTO clusters(workspace, name) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                    .bind(name.workspace)
                    .bind(name.name)
                    .execute(&mut *tx)
                    .await?;
            }
            Ok(())
        })
    }
}

/// Every cluster that ever was.
pub(crate) async fn cluster_names(reader: &Reader) -> Result<Vec<ClusterName>, Error> {
    let rows: Vec<(String, String)> = sql("SELECT workspace, name FROM clusters").fetch_all(reader).await?;
    Ok(rows.into_iter().map(|(workspace, name)| ClusterName { workspace, name }).collect())
}
