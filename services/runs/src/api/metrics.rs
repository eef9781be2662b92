//! Metric points: record, summaries, history.

use std::sync::Arc;

use contracts::CallContext;
use contracts::runs as wire;
use tonic::{Request, Response, Status};
use vocabulary::Problem;

use super::{bad_token, command, run_in, run_named, status};
use crate::metrics::read::{self, Start};
use crate::metrics::{Batch, store};
use crate::run::{self, Run};
use crate::service::Core;

pub(super) async fn record(
    core: &Core,
    request: Request<wire::RecordMetricsRequest>,
) -> Result<Response<wire::RecordMetricsReply>, Status> {
    let call = CallContext::of(&request);
    let request = request.into_inner();
    let run = run_named(&request.run_id, &request.workspace)?;
    let now_ms = core.clock.now().as_millisecond();
    let writer = core.writer(&call);
    let batch = Arc::new(Batch::read(request, run, now_ms, writer).map_err(status)?);
    let context = calls::context(&call, core.entropy.as_ref(), Vec::new());
    let stream = run::stream(run);
    let recorded = core.log.record::<Run, _>(&stream, None, context, move |state, tx| {
        let batch = Arc::clone(&batch);
        Box::pin(async move { store::store(&batch, state, tx).await })
    });
    let committed = recorded.await.map_err(calls::refused)?;
    let mut reply: wire::RecordMetricsReply = command::reply(&committed)?;
    reply.repeated |= committed.repeated;
    Ok(contracts::with_position(reply, committed.position))
}

/// Rows of points that cannot be read.
pub(super) fn unreadable(error: read::Error) -> Status {
    match error {
        read::Error::Log(error) => calls::unreadable(error),
        damaged @ read::Error::Damaged { .. } => {
            tracing::error!("{damaged}");
            status(Problem::internal(damaged.to_string()))
        }
    }
}

pub(super) async fn list(
    core: &Core,
    request: Request<wire::ListMetricsRequest>,
) -> Result<Response<wire::ListMetricsReply>, Status> {
    calls::at_least(&core.log, &CallContext::of(&request)).await?;
    let wire::ListMetricsRequest { workspace, run_id, page_size, page_token } = request.into_inner();
    let (size, after) = calls::page(page_size, &page_token)?;
    let after = after.unwrap_or_default();
    let run = run_in(core, &workspace, &run_id).await?;
    let found = read::summaries(core.log.reader(), run, &after, size + 1).await.map_err(unreadable)?;
    let (metrics, more) = calls::Page::fill(size, found);
    let next_page_token = metrics.last().filter(|_| more).map(|last| last.name.clone()).unwrap_or_default();
    Ok(Response::new(wire::ListMetricsReply { metrics, next_page_token }))
}

pub(super) async fn history(
    core: &Core,
    request: Request<wire::GetMetricHistoryRequest>,
) -> Result<Response<wire::GetMetricHistoryReply>, Status> {
    calls::at_least(&core.log, &CallContext::of(&request)).await?;
    let request = request.into_inner();
    let (size, token) = calls::page(request.page_size, &request.page_token)?;
    let from = match token {
        None => Start::default(),
        Some(token) => Start::parse(&token).ok_or_else(|| bad_token(&token))?,
    };
    let run = run_in(core, &request.workspace, &request.run_id).await?;
    let (points, next) =
        read::history(core.log.reader(), run, &request.name, from, size as usize).await.map_err(unreadable)?;
    let next_page_token = next.map(|next| next.to_string()).unwrap_or_default();
    Ok(Response::new(wire::GetMetricHistoryReply { points, next_page_token }))
}
