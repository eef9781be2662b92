//! Shows clusters and the sizes that their nodes may have.

use std::time::Duration;

use contracts::compute as wire;
use contracts::{CallContext, status_of};
use tonic::{Request, Response, Status};

use super::put_cluster::absent;
use super::{Api, show};
use crate::sizes;
use crate::stream::ClusterName;

/// The longest wait for a change; a longer wish is cut.
const WAIT_MAX: Duration = Duration::from_secs(60);

impl Api {
    /// Waits until the log and the fleet have what the caller has seen.
    pub(super) async fn at_least<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let call = CallContext::of(request);
        calls::at_least(&self.commands.log, &call).await?;
        match call.at_least {
            Some(position) => self.fleet.caught_up(position).await,
            None => Ok(()),
        }
    }

    pub(super) async fn get_cluster(
        &self,
        request: Request<wire::GetClusterRequest>,
    ) -> Result<Response<wire::Cluster>, Status> {
        self.at_least(&request).await?;
        let wire::GetClusterRequest { workspace, name, wait_seconds, after_version, .. } = request.into_inner();
        let cluster = ClusterName::new(workspace, name);
        let wait = Duration::try_from_secs_f64(wait_seconds).unwrap_or_default().min(WAIT_MAX);
        let mut folded = self.fleet.folded.subscribe();
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        loop {
            folded.borrow_and_update();
            let now = self.fleet.lock().pool(&cluster).map(show::cluster);
            let now = now.ok_or_else(|| status_of(&absent(&cluster)))?;
            if wait.is_zero() || now.version > after_version {
                return Ok(Response::new(now));
            }
            tokio::select! {
                changed = folded.changed() => changed.map_err(|_| calls::unreadable(eventlog::Error::Closed))?,
                () = &mut deadline => return Ok(Response::new(now)),
                () = self.commands.shutdown.requested() => return Ok(Response::new(now)),
            }
        }
    }

    pub(super) async fn list_clusters(
        &self,
        request: Request<wire::ListClustersRequest>,
    ) -> Result<Response<wire::ListClustersReply>, Status> {
        self.at_least(&request).await?;
        let request = request.into_inner();
        let (size, after) = calls::page(request.page_size, &request.page_token)?;
        let fleet = self.fleet.lock();
        let found = fleet.pools_of(&request.workspace, after.as_deref().unwrap_or_default());
        let (clusters, more) = calls::Page::fill(size, found.map(show::cluster));
        let last = clusters.last().filter(|_| more).map(|cluster| cluster.name.clone());
        Ok(Response::new(wire::ListClustersReply { clusters, next_page_token: last.unwrap_or_default() }))
    }

    pub(super) async fn list_sizes(
        &self,
        _: Request<wire::ListSizesRequest>,
    ) -> Result<Response<wire::ListSizesReply>, Status> {
        Ok(Response::new(wire::ListSizesReply { sizes: sizes::all().map(show::size).collect() }))
    }
}
