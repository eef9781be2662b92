//! Where in the log each policy's stop is: a decision is known by its position, which the aggregate cannot know.

use std::collections::BTreeMap;

use eventlog::{BoxFuture, Error, RecordedEvent, SqliteConnection, SqlitePool, View};
use vocabulary::SweepId;

use crate::sweep::SweepEvent;

/// One row a stopped trial.
pub(crate) struct Stops;

impl View for Stops {
    fn name(&self) -> &'static str {
        "sweep_stops"
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        event.kind == "TrialStopRequested"
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut SqliteConnection,
        events: &'a [RecordedEvent],
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for event in events.iter().filter(|event| self.wants(event)) {
                let (Some(sweep_id), SweepEvent::TrialStopRequested(stop)) =
                    (crate::sweep_of(&event.stream), event.decode()?)
                else {
                    continue;
                };
                if stop.decision.is_some() {
                    sqlx::query("INSERT OR REPLACE INTO sweep_stops(sweep_id, trial, position) VALUES (?, ?, ?)")
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
pub(crate) async fn stop_of(reader: &SqlitePool, sweep_id: SweepId, trial: u32) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("SELECT position FROM sweep_stops WHERE sweep_id = ? AND trial = ?")
        .bind(sweep_id.to_string())
        .bind(i64::from(trial))
        .fetch_optional(reader)
        .await
}

/// The positions of the decisions that stopped the trials from one on. `page` trials are wanted, of any kind, so the
/// first so many stops are enough.
pub(crate) async fn stops_from(
    reader: &SqlitePool,
    sweep_id: SweepId,
    from: u32,
    page: i32,
) -> Result<BTreeMap<u32, i64>, sqlx::Error> {
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT trial, position FROM sweep_stops WHERE sweep_id = ? AND trial >= ? ORDER BY trial LIMIT ?",
    )
    .bind(sweep_id.to_string())
    .bind(i64::from(from))
    .bind(page)
    .fetch_all(reader)
    .await?;
    Ok(rows.into_iter().filter_map(|(trial, position)| Some((u32::try_from(trial).ok()?, position))).collect())
}
