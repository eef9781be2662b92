//! Which runs were canceled, from the moment that it was asked for: nothing new begins below them.

use eventlog::{BoxFuture, Error, RecordedEvent, Transaction, View, insert, row, sql};
use vocabulary::RunId;
use vocabulary::job::StopBy;

use crate::run::{self, RunEvent, RunState};

/// The view.
pub struct CanceledRunsView;

impl View for CanceledRunsView {
    fn name(&self) -> &'static str {
        "canceled_runs"
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        ["RunStopRequested", "RunEnded"].contains(&event.kind.as_str()) && run::of_stream(&event.stream).is_some()
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let mut rows = insert("INSERT INTO canceled_runs(run)", "ON CONFLICT(run) DO NOTHING");
            for event in events.iter().filter(|event| self.wants(event)) {
                let is_canceled = match event.decode()? {
                    RunEvent::RunStopRequested(stop) => stop.by == StopBy::User,
                    RunEvent::RunEnded(ended) => ended.state == RunState::Canceled,
                    _ => false,
                };
                if let Some(run) = run::of_stream(&event.stream).filter(|_| is_canceled) {
                    rows.row(row![key(run)]);
                }
            }
            rows.execute(tx).await
        })
    }
}

fn key(run: RunId) -> Vec<u8> {
    run.uuid().as_bytes().to_vec()
}

/// The first canceled run on the way up from a run, which is looked at too.
///
/// # Errors
/// When the rows cannot be read.
pub async fn at_or_above(tx: &mut Transaction, run: RunId) -> Result<Option<RunId>, Error> {
    let mut next = Some(run);
    // A run is nested in one that was there before it, so the way has an end.
    while let Some(run) = next {
        let canceled = sql("SELECT run FROM canceled_runs WHERE run = $1").bind(key(run));
        if canceled.fetch_optional::<Vec<u8>>(&mut *tx).await?.is_some() {
            return Ok(Some(run));
        }
        let above = sql("SELECT parent FROM runs WHERE run = $1").bind(key(run));
        next = above.fetch_optional::<String>(&mut *tx).await?.and_then(|parent| RunId::parse(&parent).ok());
    }
    Ok(None)
}
