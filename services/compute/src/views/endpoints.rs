//! Which endpoints and deployments there are, and which revision a request id's key stands for.

use std::collections::BTreeMap;

use eventlog::{BoxFuture, Error, Reader, RecordedEvent, Transaction, View, ViewTable, sql};

use crate::endpoint::{DeploymentRevised, EndpointEvent};

/// The stream of an endpoint begins with this.
pub(crate) const PREFIX: &str = "endpoint-";

/// The stream of an endpoint. Neither name holds a '/'.
pub(crate) fn stream(workspace: &str, endpoint: &str) -> String {
    format!("{PREFIX}{workspace}/{endpoint}")
}

/// The workspace and the endpoint of a stream.
pub(crate) fn names_of(stream: &str) -> (&str, &str) {
    stream.strip_prefix(PREFIX).and_then(|rest| rest.split_once('/')).unwrap_or_default()
}

/// The names of a workspace's endpoints, in order.
pub(crate) async fn names_in(reader: &eventlog::Reader, workspace: &str) -> Result<Vec<String>, Error> {
    let names = sql("SELECT name FROM endpoints_listed WHERE workspace = $1 ORDER BY name");
    names.bind(workspace).fetch_all(reader).await
}

/// Every endpoint by its workspace and its name.
pub(crate) async fn all_names(reader: &Reader) -> Result<Vec<(String, String)>, Error> {
    sql("SELECT workspace, name FROM endpoints_listed").fetch_all(reader).await
}

/// The keys of an endpoint's revisions by (deployment, revision).
pub(crate) async fn revision_keys(
    reader: &Reader,
    workspace: &str,
    endpoint: &str,
) -> Result<BTreeMap<(String, i64), i64>, Error> {
    let rows: Vec<(String, i64, i64)> =
        sql("SELECT deployment, revision, max(key) FROM revisions WHERE workspace = $1 AND endpoint = $2 \
         GROUP BY deployment, revision")
        .bind(workspace)
        .bind(endpoint)
        .fetch_all(reader)
        .await?;
    Ok(rows.into_iter().map(|(deployment, revision, key)| ((deployment, revision), key)).collect())
}

/// One row an endpoint, a deployment and a revision.
pub(crate) struct EndpointsListed;

impl View for EndpointsListed {
    fn name(&self) -> &'static str {
        "endpoints_listed"
    }

    fn tables(&self) -> &'static [ViewTable] {
        &[ViewTable::Own("endpoints_listed"), ViewTable::Own("deployments_listed"), ViewTable::Own("revisions")]
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        event.stream.starts_with(PREFIX)
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for event in events.iter().filter(|event| self.wants(event)) {
                apply_one(tx, event).await?;
            }
            Ok(())
        })
    }
}

async fn apply_one(tx: &mut Transaction, event: &RecordedEvent) -> Result<(), Error> {
    let (workspace, endpoint) = names_of(&event.stream);
    let query = match event.decode::<EndpointEvent>()? {
        EndpointEvent::EndpointCreated(_) => {
            sql("INSERT INTO endpoints_listed(workspace, name) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        }
        EndpointEvent::EndpointDeleted(_) => {
            sql("DELETE FROM deployments_listed WHERE workspace = $1 AND endpoint = $2")
                .bind(workspace)
                .bind(endpoint)
                .execute(&mut *tx)
                .await?;
            sql("DELETE FROM endpoints_listed WHERE workspace = $1 AND name = $2")
        }
        EndpointEvent::DeploymentRevised(revised) => return insert_revision(tx, event.position, &revised).await,
        EndpointEvent::DeploymentDeleted(deleted) => {
            sql("DELETE FROM deployments_listed WHERE workspace = $1 AND endpoint = $2 AND name = $3")
                .bind(workspace)
                .bind(endpoint)
                .bind(deleted.deployment)
                .execute(tx)
                .await?;
            return Ok(());
        }
        _ => return Ok(()),
    };
    query.bind(workspace).bind(endpoint).execute(tx).await?;
    Ok(())
}

async fn insert_revision(tx: &mut Transaction, key: i64, revised: &DeploymentRevised) -> Result<(), Error> {
    let put = "INSERT INTO deployments_listed(workspace, endpoint, name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    sql(put).bind(&revised.workspace).bind(&revised.endpoint).bind(&revised.deployment).execute(&mut *tx).await?;
    sql("INSERT INTO revisions(\
         key, workspace, endpoint, deployment, revision, model, model_version, version_id, run_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
    .bind(key)
    .bind(&revised.workspace)
    .bind(&revised.endpoint)
    .bind(&revised.deployment)
    .bind(revised.revision)
    .bind(&revised.model.model)
    .bind(revised.model.version)
    .bind(&revised.model.version_id)
    .bind(&revised.model.run_id)
    .execute(tx)
    .await?;
    Ok(())
}
