//! Batches as rows of a record, as the metrics of runs are: once for each writer's sequence.

use testkit::history::Batch;
use trialog_eventlog::{Context, Error, EventLog, ExecuteError, Recorded, sql};
use uuid::Uuid;

use super::cluster::Cell;

/// The one key that they are recorded under.
pub const KEY: &str = "points";

pub const MIGRATIONS: &[(&str, &str)] =
    &[("batches", "CREATE TABLE batches(writer BIGINT NOT NULL, sequence BIGINT NOT NULL)")];

/// Writes a batch, unless it is there.
pub async fn put(log: &EventLog, batch: Batch) -> Result<(), ExecuteError<()>> {
    let id = Uuid::from_u64_pair(1_000 + batch.writer as u64, batch.sequence);
    let (writer, sequence) = (batch.writer as i64, batch.sequence as i64);
    let work = log.record::<Cell, _>(KEY, None, Context::new(id, "client", "request"), move |_, tx| {
        Box::pin(async move {
            sql("INSERT INTO batches VALUES ($1, $2)").bind(writer).bind(sequence).execute(tx).await?;
            Ok(Recorded { events: Vec::new(), reply: Vec::new() })
        })
    });
    work.await.map(drop)
}

/// What is there.
pub async fn list(log: &EventLog) -> Result<Vec<Batch>, Error> {
    let rows: Vec<(i64, i64)> = sql("SELECT writer, sequence FROM batches").fetch_all(log.reader()).await?;
    Ok(rows
        .into_iter()
        .map(|(writer, sequence)| Batch { writer: writer as usize, sequence: sequence as u64 })
        .collect())
}
