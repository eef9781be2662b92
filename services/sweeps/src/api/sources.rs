//! From which sweeps others have what they began with: none of them is deleted while one of these goes on. The rows are
//! written in the transactions of submissions and deletions, so that of two at the same moment one comes first.

use std::collections::BTreeSet;

use eventlog::{RecordError, Transaction, sql};
use vocabulary::{Problem, SweepId};

use crate::sweep::{Rejection, SweepEvent, in_use};

/// The sweeps that the first events of another one tell of.
pub(super) fn of(history: &[SweepEvent]) -> BTreeSet<SweepId> {
    let source = |event: &SweepEvent| match event {
        SweepEvent::ObservationsInherited(inherited) => Some(inherited.source),
        SweepEvent::TrialsAdopted(adopted) => Some(adopted.source),
        _ => None,
    };
    history.iter().filter_map(source).collect()
}

/// A sweep begins with what these have.
pub(super) async fn begin_with(
    tx: &mut Transaction,
    sources: &BTreeSet<SweepId>,
    (sweep, workspace): (SweepId, &str),
) -> Result<(), RecordError<Rejection>> {
    for source in sources {
        let id = source.to_string();
        let deleted = "SELECT count(*) FROM deleted_sources WHERE source = $1";
        let deleted: i64 = sql(deleted).bind(&id).fetch_one(&mut *tx).await?;
        if deleted > 0 {
            return Err(RecordError::Rejected(Problem::not_found("sweep", &id, workspace).into()));
        }
        let put = "INSERT INTO sweep_sources(source, sweep_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        sql(put).bind(id).bind(sweep.to_string()).execute(&mut *tx).await?;
    }
    Ok(())
}

/// A sweep is deleted: nobody who goes on has begun with it, and nobody will.
pub(super) async fn delete(tx: &mut Transaction, source: SweepId) -> Result<(), RecordError<Rejection>> {
    let id = source.to_string();
    // One whose submission is in the same commit is not listed yet.
    let going_on = "SELECT sweep_sources.sweep_id FROM sweep_sources
        LEFT JOIN sweeps_listed ON sweeps_listed.sweep_id = sweep_sources.sweep_id
        WHERE source = $1 AND (state IS NULL
            OR state NOT IN ('Completed', 'Failed', 'Canceled', 'Archived', 'Deleted'))
        ORDER BY sweep_sources.sweep_id";
    let going_on: Vec<String> = sql(going_on).bind(&id).fetch_all(&mut *tx).await?;
    if !going_on.is_empty() {
        let used_by: Vec<String> = going_on.iter().map(|id| format!("sweep {id}, which has not ended")).collect();
        return Err(RecordError::Rejected(in_use(&used_by).into()));
    }
    let put = "INSERT INTO deleted_sources(source) VALUES ($1) ON CONFLICT DO NOTHING";
    sql(put).bind(id).execute(&mut *tx).await?;
    Ok(())
}
