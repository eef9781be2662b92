//! Creates, changes and deletes clusters. Each is idempotent by itself: the answer is the cluster as it is
//! afterwards.

use contracts::compute as wire;
use contracts::{CallContext, status_of, with_made, with_position};
use documents::Format;
use tonic::{Request, Response, Status};
use vocabulary::Problem;

use super::{Api, show};
use crate::cluster::{Cluster, ClusterEvent, Command, read_change, read_spec};
use crate::stream::ClusterName;
use crate::views;

/// Runs that a refusal names; the others are counted.
const RUNS_NAMED: usize = 5;

fn format_of(text: &str) -> Result<Format, Status> {
    match text {
        "json" => Ok(Format::Json),
        "yaml" => Ok(Format::Yaml),
        other => {
            let detail = format!("document format '{other}': one of json, yaml");
            Err(status_of(&Problem::new(415, "UnsupportedMediaType", detail)))
        }
    }
}

impl Api {
    pub(super) async fn put_cluster(
        &self,
        request: Request<wire::PutClusterRequest>,
    ) -> Result<Response<wire::Cluster>, Status> {
        let call = CallContext::of(&request);
        let wire::PutClusterRequest { workspace, name, document, format } = request.into_inner();
        let (format, named) = (format_of(&format)?, name.clone());
        let read = runtime::reading::body(document.len(), move || read_spec(&named, &document, format)).await;
        let (spec, size) = read.flatten().map_err(|problem| status_of(&problem))?;
        let at_us = self.commands.clock.now_us();
        let cluster = ClusterName::new(&workspace, &name);
        let command = Command::Put { workspace, name, spec: Box::new(spec), size: Box::new(size), at_us };
        self.change(&call, &cluster, command).await
    }

    pub(super) async fn update_cluster(
        &self,
        request: Request<wire::PutClusterRequest>,
    ) -> Result<Response<wire::Cluster>, Status> {
        let call = CallContext::of(&request);
        let wire::PutClusterRequest { workspace, name, document, format } = request.into_inner();
        let format = format_of(&format)?;
        let read = runtime::reading::body(document.len(), move || read_change(&document, format)).await;
        let change = read.flatten().map_err(|problem| status_of(&problem))?;
        let command = Command::Rescale { change, at_us: self.commands.clock.now_us() };
        self.change(&call, &ClusterName::new(workspace, name), command).await
    }

    pub(super) async fn delete_cluster(
        &self,
        request: Request<wire::GetClusterRequest>,
    ) -> Result<Response<wire::Cluster>, Status> {
        let call = CallContext::of(&request);
        let wire::GetClusterRequest { workspace, name, force, used_by: others, .. } = request.into_inner();
        let cluster = ClusterName::new(workspace, name);
        let used_by = if force { Vec::new() } else { self.used_by(&cluster, others).await? };
        let command = Command::Delete { used_by, at_us: self.commands.clock.now_us() };
        self.change(&call, &cluster, command).await
    }

    /// What would end with the cluster, in words: deployments, what the caller knows, and the jobs of plain runs. Those
    /// of trials are their sweeps'.
    async fn used_by(&self, cluster: &ClusterName, others: Vec<String>) -> Result<Vec<String>, Status> {
        let deployments = self.endpoints.commands.deployments_on(&cluster.workspace, &cluster.name).await;
        let deployments = deployments.map_err(calls::unreadable)?.into_iter().map(|name| format!("deployment {name}"));
        let mut used_by: Vec<String> = deployments.chain(others).collect();
        let jobs = views::runs_on(self.commands.log.reader(), &cluster.workspace, &cluster.name).await;
        let mut jobs = jobs.map_err(calls::unreadable)?;
        jobs.retain(|(job, _)| self.fleet.lock().job(*job).is_some_and(|entry| entry.job.spec.sweep_id.is_none()));
        used_by.extend(jobs.iter().take(RUNS_NAMED).map(|(_, run)| format!("run {run}")));
        if jobs.len() > RUNS_NAMED {
            used_by.push(format!("{} more runs", jobs.len() - RUNS_NAMED));
        }
        Ok(used_by)
    }

    async fn change(
        &self,
        call: &CallContext,
        cluster: &ClusterName,
        command: Command,
    ) -> Result<Response<wire::Cluster>, Status> {
        let context = calls::context(call, self.commands.entropy.as_ref(), Vec::new());
        let is_new = |event: &ClusterEvent| matches!(event, ClusterEvent::ClusterCreated(_));
        let reply_of = move |_: &Cluster, events: &[ClusterEvent]| calls::made(events.iter().any(is_new));
        let committed = self.commands.log.execute_answering(&cluster.stream(), command, context, reply_of).await;
        let committed = committed.map_err(|error| match calls::problem(error) {
            problem if problem.status == 404 => status_of(&absent(cluster)),
            problem => status_of(&problem),
        })?;
        self.fleet.caught_up(committed.position).await?;
        let fleet = self.fleet.lock();
        let now = match fleet.pool(cluster) {
            Some(pool) => show::cluster(pool),
            // An empty cluster may be gone already when its deletion is answered.
            None => wire::Cluster {
                workspace: cluster.workspace.clone(),
                name: cluster.name.clone(),
                provisioning_state: "Succeeded".to_owned(),
                version: committed.version,
                ..wire::Cluster::default()
            },
        };
        Ok(with_made(with_position(now, committed.position), committed.reply == calls::MADE))
    }
}

pub(super) fn absent(cluster: &ClusterName) -> Problem {
    Problem::not_found("cluster", &cluster.name, &cluster.workspace)
}
