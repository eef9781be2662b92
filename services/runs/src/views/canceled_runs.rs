//! Which runs were canceled, from the moment that it was asked for: nothing new begins below them.

use eventlog::{BoxFuture, Error, RecordedEvent, Transaction, View, ViewTable, insert, row};
use vocabulary::job::StopBy;

use super::key;
use crate::run::{self, RunEvent, RunState};

/// The view.
pub struct CanceledRunsView;

impl View for CanceledRunsView {
    fn name(&self) -> &'static str {
        "canceled_runs"
    }

    fn tables(&self) -> &'static [ViewTable] {
        &[ViewTable::Own("canceled_runs")]
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
