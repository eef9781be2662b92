//! The calls of endpoints: create, show, list, delete, and their traffic.

use std::sync::Arc;
use std::time::Duration;

use contracts::compute as wire;
use contracts::{CallContext, status_of, with_made, with_position};
use eventlog::sql;
use tonic::{Request, Response, Status};
use vocabulary::Problem;

use super::endpoints_document::read_endpoint;
use super::endpoints_to_wire;
use crate::endpoint::{Command, Endpoint, EndpointCreated, EndpointEvent, TrafficSet};
use crate::fleet_state::FleetState;
use crate::serving::EndpointCommands;
use crate::views::endpoints::stream;

/// Endpoints of a workspace.
const ENDPOINTS_MAX: i64 = 50;
/// The longest that a read waits for a change.
const WAIT_MAX_SECONDS: f64 = 60.0;

/// What each call of endpoints needs.
#[derive(Clone)]
pub(crate) struct EndpointCalls {
    pub commands: EndpointCommands,
    /// Knows what the jobs of replicas wait for.
    pub fleet: Arc<FleetState>,
}

impl EndpointCalls {
    /// Reads an endpoint, and again after changes until it is newer than `after_version` or the time is over.
    pub(crate) async fn look_after(
        &self,
        stream: &str,
        wait_seconds: f64,
        after_version: i64,
    ) -> Result<(Endpoint, i64), Status> {
        let wait = if wait_seconds.is_finite() { wait_seconds.clamp(0.0, WAIT_MAX_SECONDS) } else { 0.0 };
        let mut head = self.commands.log().head();
        let over = tokio::time::sleep(Duration::from_secs_f64(wait));
        tokio::pin!(over);
        loop {
            head.borrow_and_update();
            let (endpoint, version) = self.commands.look(stream).await.map_err(calls::unreadable)?;
            if wait == 0.0 || version > after_version || endpoint.created.is_none() {
                return Ok((endpoint, version));
            }
            tokio::select! {
                changed = head.changed() => if changed.is_err() { return Ok((endpoint, version)) },
                () = &mut over => return Ok((endpoint, version)),
                () = self.commands.own.shutdown.requested() => return Ok((endpoint, version)),
            }
        }
    }

    /// The endpoint as it is now, after a write.
    pub(crate) async fn endpoint_now(&self, workspace: &str, name: &str) -> Result<wire::Endpoint, Status> {
        let (endpoint, version) = self.commands.look(&stream(workspace, name)).await.map_err(calls::unreadable)?;
        endpoints_to_wire::endpoint(&endpoint, version).ok_or_else(|| absent(workspace, name))
    }

    pub(crate) async fn put_endpoint(
        &self,
        request: Request<wire::PutEndpointRequest>,
    ) -> Result<Response<wire::Endpoint>, Status> {
        let call = CallContext::of(&request);
        let wire::PutEndpointRequest { workspace, name, document, format } = request.into_inner();
        let named = name.clone();
        let read = runtime::reading::body(document.len(), move || read_endpoint(&named, &document, &format)).await;
        let spec = read.flatten().map_err(|problem| status_of(&problem))?;
        let stream = stream(&workspace, &name);
        let (known, _) = self.commands.look(&stream).await.map_err(calls::unreadable)?;
        if known.created.is_none() {
            self.check_endpoint_limit(&workspace).await?;
        }
        let command = Command::Put(EndpointCreated {
            workspace: workspace.clone(),
            name: name.clone(),
            spec,
            at: self.commands.now(),
        });
        let is_new = |event: &EndpointEvent| matches!(event, EndpointEvent::EndpointCreated(_));
        let (position, is_new) = self.put(&call, &stream, command, is_new).await?;
        Ok(with_made(with_position(self.endpoint_now(&workspace, &name).await?, position), is_new))
    }

    async fn check_endpoint_limit(&self, workspace: &str) -> Result<(), Status> {
        let count: i64 = sql("SELECT count(*) FROM endpoints_listed WHERE workspace = $1")
            .bind(workspace)
            .fetch_one(self.commands.log().reader())
            .await
            .map_err(calls::unreadable)?;
        if count < ENDPOINTS_MAX {
            return Ok(());
        }
        let detail = format!("workspace '{workspace}' has {count} endpoints, its limit; delete one first");
        Err(status_of(&Problem::conflict("QuotaExceeded", detail).with("limit", ENDPOINTS_MAX).with("used", count)))
    }

    /// Has a document decided; answers the position, and whether an event says that the thing was not there before.
    pub(crate) async fn put(
        &self,
        call: &CallContext,
        stream: &str,
        command: Command,
        is_new: impl Fn(&EndpointEvent) -> bool + Send + 'static,
    ) -> Result<(i64, bool), Status> {
        let context = calls::context(call, self.commands.own.entropy.as_ref(), Vec::new());
        let reply_of = move |_: &Endpoint, events: &[EndpointEvent]| calls::made(events.iter().any(&is_new));
        let executed = self.commands.log().execute_answering(stream, command, context, reply_of);
        let committed = executed.await.map_err(calls::refused)?;
        Ok((committed.position, committed.reply == calls::MADE))
    }

    /// Has a user's wish decided; answers the position.
    pub(crate) async fn execute(&self, call: &CallContext, stream: &str, command: Command) -> Result<i64, Status> {
        let context = calls::context(call, self.commands.own.entropy.as_ref(), Vec::new());
        let committed =
            self.commands.log().execute::<Endpoint>(stream, command, context).await.map_err(calls::refused)?;
        Ok(committed.position)
    }

    pub(crate) async fn get_endpoint(
        &self,
        request: Request<wire::GetEndpointRequest>,
    ) -> Result<Response<wire::Endpoint>, Status> {
        calls::at_least(self.commands.log(), &CallContext::of(&request)).await?;
        let wire::GetEndpointRequest { workspace, name, wait_seconds, after_version } = request.into_inner();
        let (endpoint, version) = self.look_after(&stream(&workspace, &name), wait_seconds, after_version).await?;
        let shown = endpoints_to_wire::endpoint(&endpoint, version).ok_or_else(|| absent(&workspace, &name))?;
        Ok(Response::new(shown))
    }

    pub(crate) async fn list_endpoints(
        &self,
        request: Request<wire::ListEndpointsRequest>,
    ) -> Result<Response<wire::ListEndpointsReply>, Status> {
        calls::at_least(self.commands.log(), &CallContext::of(&request)).await?;
        let wire::ListEndpointsRequest { workspace, page_size, page_token } = request.into_inner();
        let (size, after) = calls::page(page_size, &page_token)?;
        let names: Vec<String> =
            sql("SELECT name FROM endpoints_listed WHERE workspace = $1 AND name > $2 ORDER BY name LIMIT $3")
                .bind(&workspace)
                .bind(after.unwrap_or_default())
                .bind(size + 1)
                .fetch_all(self.commands.log().reader())
                .await
                .map_err(calls::unreadable)?;
        let found = self.commands.look_at_all(&workspace, &names).await.map_err(calls::unreadable)?;
        // One that has gone since its name was read is left out.
        let shown = found.iter().filter_map(|(endpoint, version)| endpoints_to_wire::endpoint(endpoint, *version));
        let (endpoints, more) = calls::Page::fill(size, shown);
        let last = match more {
            true => endpoints.last().map(|last| last.name.clone()),
            false => names.last().filter(|_| names.len() > size as usize).cloned(),
        };
        let next_page_token = last.unwrap_or_default();
        Ok(Response::new(wire::ListEndpointsReply { endpoints, next_page_token }))
    }

    pub(crate) async fn delete_endpoint(
        &self,
        request: Request<wire::GetEndpointRequest>,
    ) -> Result<Response<wire::Endpoint>, Status> {
        let call = CallContext::of(&request);
        let wire::GetEndpointRequest { workspace, name, .. } = request.into_inner();
        let stream = stream(&workspace, &name);
        let (before, version) = self.commands.look(&stream).await.map_err(calls::unreadable)?;
        let position = self.execute(&call, &stream, Command::Delete { at: self.commands.now() }).await?;
        let shown = match self.endpoint_now(&workspace, &name).await {
            Ok(shown) => shown,
            // It is gone already: nothing had to be drained.
            Err(gone) => {
                let shown = endpoints_to_wire::endpoint(&before, version).ok_or(gone)?;
                wire::Endpoint { provisioning_state: "Deleted".to_owned(), ..shown }
            }
        };
        Ok(with_position(shown, position))
    }

    pub(crate) async fn put_traffic(
        &self,
        request: Request<wire::PutTrafficRequest>,
    ) -> Result<Response<wire::Endpoint>, Status> {
        let call = CallContext::of(&request);
        let wire::PutTrafficRequest { workspace, endpoint, traffic } = request.into_inner();
        let command = Command::SetTraffic(TrafficSet { traffic, at: self.commands.now() });
        let position = self.execute(&call, &stream(&workspace, &endpoint), command).await?;
        Ok(with_position(self.endpoint_now(&workspace, &endpoint).await?, position))
    }
}

/// 404 for an endpoint.
pub(crate) fn absent(workspace: &str, name: &str) -> Status {
    status_of(&Problem::not_found("endpoint", name, workspace))
}
