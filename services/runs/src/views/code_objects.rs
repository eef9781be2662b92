//! Which objects are the code of jobs: they stay, whoever else has named them.

use eventlog::{BoxFuture, Error, RecordedEvent, Transaction, View, sql};

use crate::objects::Hash;
use crate::run::{self, RunEvent};

/// The view.
pub struct CodeObjectsView;

impl View for CodeObjectsView {
    fn name(&self) -> &'static str {
        "code_objects"
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        event.kind == "RunCreated" && run::of_stream(&event.stream).is_some()
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for event in events.iter().filter(|event| self.wants(event)) {
                let RunEvent::RunCreated(created) = event.decode()? else { continue };
                let code = created.job.and_then(|job| job.code_sha256).unwrap_or_default();
                let Ok(hash) = Hash::parse(&code) else { continue };
                let put = "INSERT INTO code_objects(sha256) VALUES ($1) ON CONFLICT DO NOTHING";
                sql(put).bind(hash.as_str()).execute(&mut *tx).await?;
            }
            Ok(())
        })
    }
}
