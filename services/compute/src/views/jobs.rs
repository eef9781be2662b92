//! One row a job and one an attempt that was placed.

use eventlog::{BoxFuture, Error, FromRow, Reader, RecordedEvent, Row, Transaction, View, ViewTable, sql};
use vocabulary::job::{JobEnd, StopBy, upcast_end};
use vocabulary::{JobId, RunId};

use crate::job::{self, JobEvent};

/// See the module.
pub(super) struct Jobs;

impl View for Jobs {
    fn name(&self) -> &'static str {
        "jobs"
    }

    fn tables(&self) -> &'static [ViewTable] {
        &[ViewTable::Own("jobs"), ViewTable::Own("placements")]
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        job::of_stream(&event.stream).is_some()
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for event in events {
                if let Some(job_id) = job::of_stream(&event.stream) {
                    take(tx, event, job_id.to_string(), event.decode()?).await?;
                }
            }
            Ok(())
        })
    }
}

async fn take(tx: &mut Transaction, recorded: &RecordedEvent, job_id: String, event: JobEvent) -> Result<(), Error> {
    match event {
        JobEvent::JobQueued(event) => {
            let insert = "INSERT INTO jobs\
                (job_id, workspace, run_id, cluster, state, attempt, node_id, position, queued_at, ending) \
                          VALUES ($1, $2, $3, $4, 'queued', 1, '', $5, $6, '')";
            sql(insert)
                .bind(job_id)
                .bind(event.job.workspace)
                .bind(event.job.run_id)
                .bind(event.job.cluster)
                .bind(recorded.position)
                .bind(event.at_us)
                .execute(tx)
                .await?;
        }
        JobEvent::JobPlaced(event) => {
            let node_id = event.node_id.to_string();
            let insert = "INSERT INTO placements(job_id, attempt, position, node_id, reason, placed_at) \
                VALUES ($1, $2, $3, $4, $5, $6)";
            sql(insert)
                .bind(&job_id)
                .bind(event.attempt)
                .bind(recorded.position)
                .bind(&node_id)
                .bind(event.reason)
                .bind(event.at_us)
                .execute(&mut *tx)
                .await?;
            stand(tx, &job_id, "placed", event.attempt, &node_id).await?;
        }
        JobEvent::JobPhaseChanged(event) => {
            stand(tx, &job_id, &event.phase.to_string(), event.attempt, &event.node_id.to_string()).await?;
        }
        JobEvent::JobRequeued(event) => stand(tx, &job_id, "queued", event.next_attempt, "").await?,
        JobEvent::JobHeld(event) => stand(tx, &job_id, "held", event.attempt, "").await?,
        JobEvent::StopRequested(event) if event.by == StopBy::Pause => restand(tx, &job_id, "queued", "held").await?,
        JobEvent::JobReleased(_) => restand(tx, &job_id, "held", "queued").await?,
        JobEvent::StopRequested(_) => {}
        JobEvent::JobEnded(event) => {
            let ending = serde_json::to_string(&event.end).map_err(|error| Error::Encode(error.to_string()))?;
            let node_id = event.node_id.map(|node| node.to_string()).unwrap_or_default();
            stand(&mut *tx, &job_id, "ended", event.attempt, &node_id).await?;
            sql("UPDATE jobs SET ending = $1 WHERE job_id = $2").bind(ending).bind(job_id).execute(tx).await?;
        }
    }
    Ok(())
}

async fn stand(tx: &mut Transaction, job_id: &str, state: &str, attempt: u32, node: &str) -> Result<(), Error> {
    sql("UPDATE jobs SET state = $1, attempt = $2, node_id = $3 WHERE job_id = $4")
        .bind(state)
        .bind(attempt)
        .bind(node)
        .bind(job_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// One that waited in another way goes on waiting in this one.
async fn restand(tx: &mut Transaction, job_id: &str, from: &str, to: &str) -> Result<(), Error> {
    let update = "UPDATE jobs SET state = $1 WHERE job_id = $2 AND state = $3";
    sql(update).bind(to).bind(job_id).bind(from).execute(tx).await?;
    Ok(())
}

/// A job as the table has it.
#[derive(Clone, Debug)]
pub(crate) struct JobRow {
    pub job_id: String,
    pub workspace: String,
    pub run_id: String,
    pub cluster: String,
    pub state: String,
    pub attempt: u32,
    pub node_id: String,
    pub position: i64,
    pub queued_at: i64,
    ending: String,
}

impl FromRow for JobRow {
    fn from_row(row: Row) -> Result<Self, Error> {
        Ok(Self {
            job_id: row.get("job_id")?,
            workspace: row.get("workspace")?,
            run_id: row.get("run_id")?,
            cluster: row.get("cluster")?,
            state: row.get("state")?,
            attempt: row.get("attempt")?,
            node_id: row.get("node_id")?,
            position: row.get("position")?,
            queued_at: row.get("queued_at")?,
            ending: row.get("ending")?,
        })
    }
}

impl JobRow {
    /// How it ended. Rows of earlier builds have it as they stored it.
    pub fn end(&self) -> Option<JobEnd> {
        let mut end = serde_json::from_str(&self.ending).ok()?;
        upcast_end(&mut end).ok()?;
        serde_json::from_value(end).ok()
    }
}

const COLUMNS: &str =
    "SELECT job_id, workspace, run_id, cluster, state, attempt, node_id, position, queued_at, ending FROM jobs";

/// A job by its own id or by its run's, in either spelling. Of a run's jobs it is the last.
pub(crate) async fn job_by_id(reader: &Reader, id: &str) -> Result<Option<JobRow>, Error> {
    let (job_id, run_id) = (JobId::parse(id).ok(), RunId::parse(id).ok());
    for (column, value) in [("job_id", job_id.map(|id| id.to_string())), ("run_id", run_id.map(|id| id.to_string()))] {
        let Some(value) = value else { continue };
        let get = format!("{COLUMNS} WHERE {column} = $1 ORDER BY position DESC LIMIT 1");
        let row = sql(get).bind(value).fetch_optional(reader).await?;
        if row.is_some() {
            return Ok(row);
        }
    }
    Ok(None)
}

/// The jobs on a cluster that drive runs and are not over, with their runs, the oldest first.
pub(crate) async fn runs_on(reader: &Reader, workspace: &str, cluster: &str) -> Result<Vec<(JobId, String)>, Error> {
    let get = "SELECT job_id, run_id FROM jobs
        WHERE workspace = $1 AND cluster = $2 AND state <> 'ended' AND run_id <> '' ORDER BY position";
    let rows: Vec<(String, String)> = sql(get).bind(workspace).bind(cluster).fetch_all(reader).await?;
    Ok(rows.into_iter().filter_map(|(job, run)| Some((JobId::parse(&job).ok()?, run))).collect())
}

/// Where an attempt of a job was placed, and why there.
pub(crate) struct PlacementRow {
    pub position: i64,
    pub attempt: u32,
    pub node_id: String,
    pub reason: String,
    pub placed_us: i64,
}

/// Where a job's attempts were placed.
pub(crate) async fn placements_of(reader: &Reader, job_id: &str) -> Result<Vec<PlacementRow>, Error> {
    let rows: Vec<(i64, u32, String, String, i64)> =
        sql("SELECT position, attempt, node_id, reason, placed_at FROM placements WHERE job_id = $1 ORDER BY attempt")
            .bind(job_id)
            .fetch_all(reader)
            .await?;
    let placement = |(position, attempt, node_id, reason, placed_us)| PlacementRow {
        position,
        attempt,
        node_id,
        reason,
        placed_us,
    };
    Ok(rows.into_iter().map(placement).collect())
}

/// Which jobs are listed; empty texts match all.
pub(crate) struct JobsOf {
    pub workspace: String,
    pub cluster: String,
    pub state: String,
}

/// Hands over the next jobs in the order in which they were queued, after a position, until one is not taken: a row has
/// up to what a document may have.
pub(crate) async fn each_job(
    reader: &Reader,
    jobs: JobsOf,
    after: i64,
    limit: i32,
    mut take: impl FnMut(JobRow) -> bool + Send,
) -> Result<(), Error> {
    let get = format!(
        "{COLUMNS} WHERE workspace = $1 AND position > $2 AND ($3 = '' OR cluster = $3) AND ($4 = '' OR state = $4) \
         ORDER BY position LIMIT $5"
    );
    let query = sql(get).bind(jobs.workspace).bind(after).bind(jobs.cluster).bind(jobs.state).bind(limit);
    query.fetch_while(reader, |row| Ok(take(row))).await
}

/// Jobs that are not over by state, and when the oldest of each state was queued.
pub(crate) async fn live_counts(reader: &Reader) -> Result<Vec<(String, i64, i64)>, Error> {
    let get = "SELECT state, COUNT(*), MIN(queued_at) FROM jobs WHERE state <> 'ended' GROUP BY state ORDER BY state";
    sql(get).fetch_all(reader).await
}

/// Jobs that are not over, with the position of their first event, in that order.
pub(crate) async fn live_jobs(reader: &Reader) -> Result<Vec<(JobId, i64)>, Error> {
    let rows: Vec<(String, i64)> =
        sql("SELECT job_id, position FROM jobs WHERE state <> 'ended' ORDER BY position").fetch_all(reader).await?;
    let parse = |(id, position): (String, i64)| {
        let job_id = JobId::parse(&id).map_err(|error| Error::Decode(error.to_string()))?;
        Ok((job_id, position))
    };
    rows.into_iter().map(parse).collect()
}
