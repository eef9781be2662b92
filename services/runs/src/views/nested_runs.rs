//! Which runs are nested in which, and how deep: what is asked before one more begins below them.

use eventlog::{Error, Transaction, ViewTable, sql};
use uuid::Uuid;
use vocabulary::RunId;

use super::creations::Creations;
use super::key;
use crate::run::RunCreated;

/// Runs that may be above a run. The way up is walked in the one transaction that everybody waits for.
pub const DEPTH_MAX: i64 = 64;

/// The table.
pub struct NestedRuns;

impl Creations for NestedRuns {
    const NAME: &'static str = "nested_runs";
    const TABLES: &'static [ViewTable] = &[ViewTable::Own("nested_runs")];

    async fn take(tx: &mut Transaction, created: &RunCreated) -> Result<(), Error> {
        let Ok(parent) = RunId::parse(&created.parent_run_id) else { return Ok(()) };
        // The parent was there first: its row, if it is nested itself, is written.
        let put = "INSERT INTO nested_runs(run, parent, depth)
            VALUES ($1, $2, 1 + coalesce((SELECT depth FROM nested_runs WHERE run = $2), 0))
            ON CONFLICT(run) DO NOTHING";
        sql(put).bind(key(created.run_id)).bind(key(parent)).execute(tx).await?;
        Ok(())
    }
}

/// How many runs are above a run.
///
/// # Errors
/// When the rows cannot be read.
pub async fn depth_of(tx: &mut Transaction, run: RunId) -> Result<i64, Error> {
    let depth = sql("SELECT depth FROM nested_runs WHERE run = $1").bind(key(run));
    Ok(depth.fetch_optional(tx).await?.unwrap_or_default())
}

/// The first canceled run on the way up from a run, which is looked at too: as far up as runs may be nested.
///
/// # Errors
/// When the rows cannot be read.
pub async fn canceled_at_or_above(tx: &mut Transaction, run: RunId) -> Result<Option<RunId>, Error> {
    let way = "WITH RECURSIVE way(run, levels) AS (
            SELECT $1, 0 UNION ALL
            SELECT nested_runs.parent, way.levels + 1 FROM way JOIN nested_runs ON nested_runs.run = way.run
            WHERE way.levels < $2)
        SELECT canceled_runs.run FROM way JOIN canceled_runs ON canceled_runs.run = way.run
        ORDER BY way.levels LIMIT 1";
    let canceled: Option<Vec<u8>> = sql(way).bind(key(run)).bind(DEPTH_MAX).fetch_optional(tx).await?;
    let damaged = |_| Error::Decode("a row of canceled_runs".to_owned());
    canceled.map(|run| Uuid::from_slice(&run).map(RunId::new).map_err(damaged)).transpose()
}
