//! Keeps the table up to date with what compute sends, and keeps the last one when compute is away.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use contracts::Peers;
use contracts::compute::{RouteTable, WatchRoutesRequest};
use runtime::{Backoff, Shutdown};
use tokio::sync::watch;

use crate::table::Table;

/// Waits before compute is asked again.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// The only writer of the table.
#[derive(Clone)]
pub struct Follower {
    /// Compute among them.
    pub peers: Peers,
    /// The end.
    pub shutdown: Shutdown,
    /// What requests read.
    pub table: Arc<ArcSwap<Table>>,
    /// Counts the tables.
    pub generation: Arc<watch::Sender<u64>>,
}

impl Follower {
    /// Follows until shutdown; a loss of the connection is no failure.
    ///
    /// # Errors
    /// Never.
    pub async fn follow(self) -> anyhow::Result<()> {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            let mut any = false;
            let lost = tokio::select! {
                lost = self.session(&mut any) => lost,
                () = self.shutdown.requested() => return Ok(()),
            };
            if any {
                backoff.reset();
            }
            tracing::debug!("compute sends no routes ({lost}); the last table stays in force");
            if !backoff.wait_unless(&self.shutdown).await {
                return Ok(());
            }
        }
    }

    /// One connection; answers why it ended.
    async fn session(&self, any: &mut bool) -> tonic::Status {
        let mut routes = match self.peers.routes_client().watch_routes(WatchRoutesRequest {}).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return status,
        };
        loop {
            match routes.message().await {
                Ok(Some(table)) => {
                    self.take(table);
                    *any = true;
                }
                Ok(None) => return tonic::Status::unavailable("the stream has ended"),
                Err(status) => return status,
            }
        }
    }

    /// Puts a table in force and wakes who waits for one.
    pub fn take(&self, routes: RouteTable) {
        let next = self.table.load().next(routes);
        self.table.store(Arc::new(next));
        self.generation.send_modify(|generation| *generation += 1);
    }
}
