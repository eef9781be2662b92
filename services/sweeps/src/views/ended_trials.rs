//! How many trials the sweeps that have ended have in each state, so that nobody has to look at each sweep for it.

use eventlog::{BoxFuture, Error, Reader, RecordedEvent, Transaction, View, ViewTable, sql};

use crate::sweep::SweepEvent;

/// A row a state of a sweep that has ended.
pub(crate) struct EndedTrials;

impl View for EndedTrials {
    fn name(&self) -> &'static str {
        "ended_trials"
    }

    fn tables(&self) -> &'static [ViewTable] {
        &[ViewTable::Own("ended_trials")]
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        let kinds = ["SweepCompleted", "SweepFailed", "SweepCanceled", "SweepExtended", "SweepDeleted"];
        kinds.contains(&event.kind.as_str())
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for event in events.iter().filter(|event| self.wants(event)) {
                let Some(sweep_id) = crate::stream::sweep_of(&event.stream) else { continue };
                let sweep_id = sweep_id.to_string();
                // One that was extended has not ended any more, and ends again with other numbers.
                sql("DELETE FROM ended_trials WHERE sweep_id = $1").bind(&sweep_id).execute(&mut *tx).await?;
                let closing = match event.decode()? {
                    SweepEvent::SweepCompleted(event) => event.closing,
                    SweepEvent::SweepFailed(event) => event.closing,
                    SweepEvent::SweepCanceled(event) => event.closing,
                    _ => continue,
                };
                for (state, count) in closing.trial_counts {
                    sql("INSERT INTO ended_trials(sweep_id, state, count) VALUES ($1, $2, $3)")
                        .bind(&sweep_id)
                        .bind(state)
                        .bind(i64::from(count))
                        .execute(&mut *tx)
                        .await?;
                }
            }
            Ok(())
        })
    }
}

/// The trials of all sweeps that have ended, by state.
pub(crate) async fn ended_trials(reader: &Reader) -> Result<Vec<(String, i64)>, Error> {
    let get = "SELECT state, CAST(SUM(count) AS BIGINT) FROM ended_trials GROUP BY state ORDER BY state";
    sql(get).fetch_all(reader).await
}
