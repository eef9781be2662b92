//! Logs: append by offset, read, follow.

use std::sync::Arc;

use contracts::CallContext;
use contracts::runs as wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use vocabulary::{Problem, RunId};

use super::{Chunks, command, run_in, run_named, status, still_good};
use crate::logs::follow::Part;
use crate::logs::store::{self, Append};
use crate::logs::{STREAMS, wake};
use crate::run::{self, Run};
use crate::service::Core;
use crate::views;

/// Bytes of one append.
const APPEND_BYTES_MAX: usize = 4 << 20;
/// Chunks that wait for one slow reader: at most 1 MiB.
const BUFFERED_CHUNKS: usize = 4;

pub(super) async fn append(
    core: &Core,
    request: Request<wire::AppendLogsRequest>,
) -> Result<Response<wire::AppendLogsReply>, Status> {
    let call = CallContext::of(&request);
    let wire::AppendLogsRequest { workspace, run_id, attempt, stream, offset, data, at_end } = request.into_inner();
    let offset = Some(offset).filter(|_| !at_end);
    let run = run_named(&run_id, &workspace)?;
    check_stream(&stream).map_err(status)?;
    if data.len() > APPEND_BYTES_MAX {
        let detail = format!("data has {} bytes, limit {APPEND_BYTES_MAX}; send several requests", data.len());
        return Err(status(Problem::new(413, "TooLarge", detail)));
    }
    let writer = core.writer(&call);
    let append = Arc::new(Append { writer, ..Append::new(workspace, run, attempt, stream, offset, data) });
    let context = calls::context(&call, core.entropy.as_ref(), Vec::new());
    let stream = run::stream(run);
    let recorded = core.log.record::<Run, _>(&stream, None, context, move |state, tx| {
        let append = Arc::clone(&append);
        Box::pin(async move { store::append(&append, state, tx).await })
    });
    let committed = recorded.await.map_err(calls::refused)?;
    core.changed(run);
    Ok(contracts::with_position(command::reply(&committed)?, committed.position))
}

fn check_stream(stream: &str) -> Result<(), Problem> {
    if STREAMS.contains(&stream) {
        return Ok(());
    }
    Err(Problem::invalid("/stream", "BadStream", documents::not_one_of("stream", stream, &STREAMS)))
}

pub(super) async fn read(
    core: &Arc<Core>,
    request: Request<wire::ReadLogsRequest>,
) -> Result<Response<Chunks<wire::LogChunk>>, Status> {
    let call = CallContext::of(&request);
    calls::at_least(&core.log, &call).await?;
    let wire::ReadLogsRequest { workspace, run_id, attempt, stream, follow, tail_bytes, offset } = request.into_inner();
    let run = run_in(core, &workspace, &run_id).await?;
    if !stream.is_empty() {
        check_stream(&stream).map_err(status)?;
    }
    if tail_bytes > 0 && offset > 0 {
        let message = "offset counts from the beginning and tail_bytes from the end: send one of them";
        return Err(status(Problem::invalid("/offset", "Conflict", message)));
    }
    let mut part = Part::new(run, attempt, stream);
    if tail_bytes > 0 {
        part.seek_tail(core.log.reader(), tail_bytes).await.map_err(calls::unreadable)?;
    }
    part.seek(core.log.reader(), offset).await.map_err(calls::unreadable)?;
    let (chunks, receiver) = mpsc::channel(BUFFERED_CHUNKS);
    // Listens before the first look, so that nothing falls between.
    let listener = follow.then(|| core.wake.listen(run));
    tokio::spawn(pump(Arc::clone(core), call, (workspace, run), part, listener, chunks));
    Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
}

type Sender = mpsc::Sender<Result<wire::LogChunk, Status>>;

/// Sends what is there, then what comes, until the run has ended or the reader is gone.
async fn pump(
    core: Arc<Core>,
    call: CallContext,
    (workspace, run): (String, RunId),
    mut part: Part,
    mut listener: Option<wake::Listener>,
    chunks: Sender,
) {
    loop {
        // Asked before the look: what is written before the end is seen by it.
        let ended = match views::runs::state_of(core.log.reader(), &workspace, run).await {
            Ok(state) => state.is_none_or(run::RunState::is_terminal),
            Err(error) => {
                let _ = chunks.send(Err(calls::unreadable(error))).await;
                return;
            }
        };
        // A token may end while its bearer listens. Asked after the end, so that whoever sees one sees the other.
        if let Err(over) = still_good(&core, &call).await {
            let _ = chunks.send(Err(over)).await;
            return;
        }
        if !send_all(&core, &mut part, &chunks).await {
            return;
        }
        let Some(listener) = listener.as_mut().filter(|_| !ended) else { return };
        tokio::select! {
            more = listener.changed() => if !more { return },
            () = chunks.closed() => return,
            () = core.shutdown.requested() => return,
        }
    }
}

/// Sends everything that is there. False when the reader is gone or the rows cannot be read.
async fn send_all(core: &Core, part: &mut Part, chunks: &Sender) -> bool {
    loop {
        let page = match part.next(core.log.reader()).await {
            Ok(page) => page,
            Err(error) => {
                let _ = chunks.send(Err(calls::unreadable(error))).await;
                return false;
            }
        };
        if page.is_empty() {
            return true;
        }
        for chunk in page {
            if chunks.send(Ok(chunk)).await.is_err() {
                return false;
            }
        }
    }
}
