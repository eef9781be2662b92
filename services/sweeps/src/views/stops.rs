//! Where in the log each policy's stop is: a decision is known by its position, which the aggregate cannot know.

use std::collections::BTreeMap;

use eventlog::{BoxFuture, Error, Reader, RecordedEvent, Transaction, View, ViewTable, sql};
use vocabulary::SweepId;

use crate::sweep::SweepEvent;

/// One row a stopped trial.
pub(crate) struct Stops;

impl View for Stops {
    fn name(&self) -> &'static str {
        "sweep_stops"
    }

    fn tables(&self) -> &'static [ViewTable] {
        &[ViewTable::Own("sweep_stops")]
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        event.kind == "TrialStopRequested"
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for event in events.iter().filter(|event| self.wants(event)) {
                let (Some(sweep_id), SweepEvent::TrialStopRequested(stop)) =
                    (crate::stream::sweep_of(&event.stream), event.decode()?)
                else {
                    continue;
                };
                if stop.decision.is_some() {
                    let put = "INSERT INTO sweep_stops(sweep_id, trial, position) VALUES ($1, $2, $3)
                               ON CONFLICT(sweep_id, trial) DO UPDATE SET position = excluded.position";
                    sql(put)
                        .bind(sweep_id.to_string())
                        .bind(i64::from(stop.trial))
                        .bind(event.position)
                        .execute(&mut *tx)
                        .await?;
                }
            }
            Ok(())
        })
    }
}

/// The position of the decision that stopped a trial.
pub(crate) async fn stop_of(reader: &Reader, sweep_id: SweepId, trial: u32) -> Result<Option<i64>, Error> {
    sql("SELECT position FROM sweep_stops WHERE sweep_id = $1 AND trial = $2")
        .bind(sweep_id.to_string())
        .bind(i64::from(trial))
        .fetch_optional(reader)
        .await
}

/// The positions of the decisions that stopped the trials from one on. `page` trials are wanted, of any kind, so the
/// first so many stops are enough.
pub(crate) async fn stops_from(
    reader: &Reader,
    sweep_id: SweepId,
    from: u32,
    page: i32,
) -> Result<BTreeMap<u32, i64>, Error> {
    let rows: Vec<(i64, i64)> =
        sql("SELECT trial, position FROM sweep_stops WHERE sweep_id = $1 AND trial >= $2 ORDER BY trial LIMIT $3")
            .bind(sweep_id.to_string())
            .bind(i64::from(from))
            .bind(page)
            .fetch_all(reader)
            .await?;
    Ok(rows.into_iter().filter_map(|(trial, position)| Some((u32::try_from(trial).ok()?, position))).collect())
}
