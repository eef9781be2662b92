//! Shows a cluster's nodes and takes one away as its provider would.

use std::ops::Bound;

use contracts::compute as wire;
use contracts::{CallContext, status_of, with_position};
use tonic::{Request, Response, Status};
use vocabulary::{NodeId, Problem};

use super::put_cluster::absent;
use super::{Api, show};
use crate::cluster::{Cluster, Command, Taker};
use crate::job::micros;
use crate::stream::ClusterName;

/// What a preemption is called that nobody gave a reason for.
const REASON_DEFAULT: &str = "asked for";

impl Api {
    pub(super) async fn list_nodes(
        &self,
        request: Request<wire::ListNodesRequest>,
    ) -> Result<Response<wire::ListNodesReply>, Status> {
        self.at_least(&request).await?;
        let wire::ListNodesRequest { workspace, name, page_size, page_token } = request.into_inner();
        let (size, token) = calls::page(page_size, &page_token)?;
        let after = match token {
            None => Bound::Unbounded,
            Some(token) => Bound::Excluded(NodeId::parse(&token).map_err(|_| calls::bad_token(&token))?),
        };
        let cluster = ClusterName::new(workspace, name);
        let fleet = self.fleet.lock();
        let pool = fleet.pool(&cluster).ok_or_else(|| status_of(&absent(&cluster)))?;
        let nodes = pool.places.range((after, Bound::Unbounded));
        let shown = nodes.map(|(node, place)| (node.to_string(), show::node(&fleet, pool, *node, place)));
        let (nodes, next_page_token) = calls::page_of(size, shown);
        Ok(Response::new(wire::ListNodesReply { nodes, next_page_token }))
    }

    pub(super) async fn preempt_node(
        &self,
        request: Request<wire::PreemptNodeRequest>,
    ) -> Result<Response<wire::Node>, Status> {
        let call = CallContext::of(&request);
        let wire::PreemptNodeRequest { workspace, cluster, node_id, reason, drain } = request.into_inner();
        let not_there = || {
            let detail = format!("cluster '{cluster}' in workspace '{workspace}' has no node '{node_id}'");
            status_of(&Problem::new(404, "NotFound", detail))
        };
        let node = NodeId::parse(&node_id).map_err(|_| not_there())?;
        let name = ClusterName::new(&workspace, &cluster);
        let notice = {
            let fleet = self.fleet.lock();
            let pool = fleet.pool(&name).ok_or_else(|| status_of(&absent(&name)))?;
            self.provider.capabilities(&pool.cluster.spec.provider).notice
        };
        let at_us = self.commands.clock.now_us();
        let reason = if reason.is_empty() { REASON_DEFAULT.to_owned() } else { reason };
        let deadline_us = at_us.saturating_add(micros(notice.as_secs_f64()));
        let by = if drain { Taker::Administrator } else { Taker::User };
        let command = Command::Notice { node_id: node, by, deadline_us, reason, at_us };
        let context = calls::context(&call, self.commands.entropy.as_ref(), Vec::new());
        let committed = self.commands.log.execute::<Cluster>(&name.stream(), command, context).await;
        let committed = committed.map_err(calls::refused)?;
        self.fleet.caught_up(committed.position).await?;
        let fleet = self.fleet.lock();
        let shown = match fleet.node(node) {
            Some((_, pool, place)) => show::node(&fleet, pool, node, place),
            // An idle node may be gone already when its preemption is answered.
            None => wire::Node { node_id, cluster, node_state: "preempted".to_owned(), ..wire::Node::default() },
        };
        Ok(with_position(shown, committed.position))
    }
}
