//! Objects by their hash: put, get, head. Streams in both directions, so that size costs no memory.
//!
//! The store holds an object once, whoever has put it; a workspace sees those that it has. That another one has an
//! object of some hash is not told.

use std::sync::Arc;

use bytes::Bytes;
use contracts::CallContext;
use contracts::runs as wire;
use eventlog::Recorded;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use tonic::{Request, Response, Status};
use vocabulary::Problem;

use super::{Chunks, status};
use crate::collection;
use crate::experiment::{self, Experiments};
use crate::objects::Hash;
use crate::run::Writer;
use crate::service::Core;
use crate::views::{kept_objects, object_owners};

/// Whether the caller is the agent of a node, which has proved it. It is told hashes by the platform itself, in orders
/// whose parts were looked up in their workspace.
pub(super) fn is_agent(core: &Core, call: &CallContext) -> bool {
    matches!(core.writer(call), Writer::Agent(_))
}

pub(super) async fn put(
    core: &Core,
    call: CallContext,
    chunks: impl Stream<Item = Result<wire::ObjectChunk, Status>> + Send + Unpin,
) -> Result<Response<wire::ObjectFacts>, Status> {
    let mut chunks = chunks;
    let first = chunks.next().await.transpose()?.unwrap_or_default();
    let expected = match first.sha256.as_str() {
        "" => None,
        text => Some(Hash::parse(text).map_err(status)?),
    };
    let rest = chunks.map_ok(|chunk| Bytes::from(chunk.data)).map_err(|status| contracts::problem_of(&status));
    let content = stream::iter([Ok(Bytes::from(first.data))]).chain(rest);
    let workspace = first.workspace;
    if workspace.is_empty() && !is_agent(core, &call) {
        return Err(status(Problem::invalid("/workspace", "Required", "workspace: required")));
    }
    // One that is named by its hash is put for its own sake, and stays; the others are a run's.
    let stays = expected.is_some();
    let put = core.objects.put(expected, content.boxed(), core.entropy.as_ref());
    let (hash, size_bytes) = put.await.map_err(status)?;
    let _naming = core.naming.read().await;
    let may_be_removed = collection::may_be_removed(core, &hash).await.map_err(calls::unreadable)?;
    if may_be_removed || core.objects.size(&hash).await.map_err(status)?.is_none() {
        // Nobody named an older one, and it was removed just now: nothing is acknowledged.
        return Err(status(Problem::unavailable(
            "ObjectRemoved",
            "the object was removed meanwhile; send it again",
            1,
        )));
    }
    if !workspace.is_empty() {
        give(core, &call, (workspace, hash.clone()), stays).await?;
    }
    Ok(Response::new(wire::ObjectFacts { sha256: hash.as_str().to_owned(), size_bytes }))
}

/// Who has sent the content has it.
async fn give(core: &Core, call: &CallContext, owned: (String, Hash), stays: bool) -> Result<(), Status> {
    let (workspace, hash) = &owned;
    let reader = core.log.reader();
    let is_so = match stays {
        true => object_owners::has_put(reader, workspace, hash).await,
        false => object_owners::has(reader, workspace, hash).await,
    };
    if is_so.map_err(calls::unreadable)? {
        return Ok(());
    }
    let context = calls::context(call, core.entropy.as_ref(), Vec::new());
    // Rows need a stream that they go with; nothing happens to the experiments.
    let stream = experiment::stream(workspace);
    let owned = Arc::new(owned);
    let given = core.log.record::<Experiments, _>(&stream, None, context, move |_, tx| {
        let owned = Arc::clone(&owned);
        Box::pin(async move {
            match stays {
                true => object_owners::put(tx, &owned.0, &owned.1).await?,
                false => object_owners::give(tx, &owned.0, &owned.1).await?,
            }
            Ok(Recorded { events: Vec::new(), reply: Vec::new() })
        })
    });
    given.await.map(drop).map_err(calls::refused)
}

/// From now on these objects stay, whatever becomes of the runs that made them.
pub(super) async fn keep(
    core: &Core,
    request: Request<wire::KeepObjectsRequest>,
) -> Result<Response<wire::KeepObjectsReply>, Status> {
    let call = CallContext::of(&request);
    let wire::KeepObjectsRequest { workspace, sha256 } = request.into_inner();
    let _naming = core.naming.read().await;
    let mut hashes = Vec::with_capacity(sha256.len());
    for text in sha256 {
        let hash = Hash::parse(&text).map_err(status)?;
        if !is_there(core, &workspace, &hash).await.map_err(status)? {
            let message = format!("there is no object {text} any more: the run that made it was deleted");
            return Err(status(Problem::new(409, "ObjectGone", message)));
        }
        hashes.push(hash);
    }
    let context = calls::context(&call, core.entropy.as_ref(), Vec::new());
    let stream = experiment::stream(&workspace);
    let hashes = Arc::new(hashes);
    let kept = core.log.record::<Experiments, _>(&stream, None, context, move |_, tx| {
        let hashes = Arc::clone(&hashes);
        Box::pin(async move {
            for hash in hashes.iter() {
                kept_objects::keep(tx, hash).await?;
            }
            Ok(Recorded { events: Vec::new(), reply: Vec::new() })
        })
    });
    kept.await.map_err(calls::refused)?;
    Ok(Response::new(wire::KeepObjectsReply {}))
}

/// The object, when the workspace has it; an agent sees all.
async fn find(core: &Core, call: &CallContext, workspace: &str, text: &str) -> Result<(Hash, u64), Status> {
    let hash = Hash::parse(text).map_err(status)?;
    let seen = match workspace {
        "" => is_agent(core, call),
        _ => object_owners::has(core.log.reader(), workspace, &hash).await.map_err(calls::unreadable)?,
    };
    match if seen { core.objects.size(&hash).await.map_err(status)? } else { None } {
        Some(size) => Ok((hash, size)),
        None => Err(status(Problem::new(404, "NotFound", format!("object sha256:{}", hash.as_str())))),
    }
}

/// Whether the workspace has an object of this hash and it is in the store.
pub(super) async fn is_there(core: &Core, workspace: &str, hash: &Hash) -> Result<bool, Problem> {
    let has = object_owners::has(core.log.reader(), workspace, hash).await.map_err(|error| error.problem())?;
    Ok(has && core.objects.size(hash).await?.is_some())
}

pub(super) async fn head(
    core: &Core,
    request: Request<wire::HeadObjectRequest>,
) -> Result<Response<wire::ObjectFacts>, Status> {
    let call = CallContext::of(&request);
    let wire::HeadObjectRequest { sha256, workspace } = request.into_inner();
    let (hash, size_bytes) = find(core, &call, &workspace, &sha256).await?;
    Ok(Response::new(wire::ObjectFacts { sha256: hash.as_str().to_owned(), size_bytes }))
}

pub(super) async fn get(
    core: &Arc<Core>,
    request: Request<wire::GetObjectRequest>,
) -> Result<Response<Chunks<wire::ObjectChunk>>, Status> {
    let call = CallContext::of(&request);
    let wire::GetObjectRequest { sha256, offset, length, workspace } = request.into_inner();
    let (hash, size) = find(core, &call, &workspace, &sha256).await?;
    if offset > size {
        let detail = format!("offset {offset} is beyond the object's {size} bytes");
        return Err(status(Problem::new(416, "RangeNotSatisfiable", detail).with("size_bytes", size)));
    }
    let end = if length == 0 { size } else { offset.saturating_add(length).min(size) };
    // The first chunk says what this is.
    let mut sha256 = hash.as_str().to_owned();
    let chunks = core.objects.clone().read(hash, size, offset, end).map(move |part| {
        let (sha256, data) = (std::mem::take(&mut sha256), part.map_err(status)?.into());
        Ok(wire::ObjectChunk { sha256, data, ..wire::ObjectChunk::default() })
    });
    Ok(Response::new(Box::pin(chunks)))
}
