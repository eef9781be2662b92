//! Shows a sweep, at once or as soon as it has changed.

use std::time::Duration;

use contracts::CallContext;
use contracts::sweeps as wire;
use tonic::{Request, Response, Status};
use vocabulary::{Problem, SweepId};

use super::{Answer, to_wire};
use crate::service::Core;

/// The longest that one call waits: proxies in between give up later than this.
const WAIT_SECONDS_MAX: f64 = 60.0;

impl Core {
    pub(super) async fn get_sweep(&self, request: Request<wire::GetSweepRequest>) -> Answer<wire::Sweep> {
        calls::at_least(&self.log, &CallContext::of(&request)).await?;
        let request = request.into_inner();
        let sweep_id = self.find_even(&request.workspace, &request.sweep, request.deleted).await?;
        let wait = request.wait_seconds.clamp(0.0, WAIT_SECONDS_MAX);
        if wait > 0.0 {
            let changed = self.changed(sweep_id, request.after_version);
            // Time that is up is no error: what is there is shown.
            if let Ok(done) = tokio::time::timeout(Duration::from_secs_f64(wait), changed).await {
                done?;
            }
        }
        Ok(Response::new(self.show(sweep_id).await?))
    }

    /// Waits until the sweep's version is above `after`.
    async fn changed(&self, sweep_id: SweepId, after: i64) -> Result<(), Status> {
        let mut head = self.log.head();
        loop {
            head.borrow_and_update();
            if self.look(sweep_id, |_, version| version).await? > after {
                return Ok(());
            }
            head.changed().await.map_err(|_| calls::unreadable(eventlog::Error::Closed))?;
        }
    }

    /// A sweep that is known to exist, with its document.
    pub(super) async fn show(&self, sweep_id: SweepId) -> Result<wire::Sweep, Status> {
        let found = self.look(sweep_id, to_wire::sweep_with_document).await?;
        found.ok_or_else(|| contracts::status_of(&Problem::new(404, "NotFound", format!("sweep '{sweep_id}'"))))
    }
}
