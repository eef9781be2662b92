//! Objects by their hash: put, get, head. Streams in both directions, so that size costs no memory.

use std::sync::Arc;

use bytes::Bytes;
use contracts::runs as wire;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use tonic::{Request, Response, Status};
use vocabulary::Problem;

use super::{Chunks, status};
use crate::objects::Hash;
use crate::service::Core;

pub(super) async fn put(
    core: &Core,
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
    let put = core.objects.put(expected, content.boxed(), core.entropy.as_ref());
    let (hash, size_bytes) = put.await.map_err(status)?;
    Ok(Response::new(wire::ObjectFacts { sha256: hash.as_str().to_owned(), size_bytes }))
}

async fn find(core: &Core, text: &str) -> Result<(Hash, u64), Status> {
    let hash = Hash::parse(text).map_err(status)?;
    match core.objects.size(&hash).await.map_err(status)? {
        Some(size) => Ok((hash, size)),
        None => Err(status(Problem::new(404, "NotFound", format!("object sha256:{}", hash.as_str())))),
    }
}

pub(super) async fn head(
    core: &Core,
    request: Request<wire::HeadObjectRequest>,
) -> Result<Response<wire::ObjectFacts>, Status> {
    let (hash, size_bytes) = find(core, &request.into_inner().sha256).await?;
    Ok(Response::new(wire::ObjectFacts { sha256: hash.as_str().to_owned(), size_bytes }))
}

pub(super) async fn get(
    core: &Arc<Core>,
    request: Request<wire::GetObjectRequest>,
) -> Result<Response<Chunks<wire::ObjectChunk>>, Status> {
    let wire::GetObjectRequest { sha256, offset, length } = request.into_inner();
    let (hash, size) = find(core, &sha256).await?;
    if offset > size {
        let detail = format!("offset {offset} is beyond the object's {size} bytes");
        return Err(status(Problem::new(416, "RangeNotSatisfiable", detail).with("size_bytes", size)));
    }
    let end = if length == 0 { size } else { offset.saturating_add(length).min(size) };
    let core = Arc::clone(core);
    let chunks = stream::try_unfold(offset, move |at| {
        let (core, hash) = (Arc::clone(&core), hash.clone());
        async move {
            if at >= end {
                return Ok(None);
            }
            let data = core.objects.part(&hash, at, end).await.map_err(status)?;
            let next = at + data.len() as u64;
            // The first chunk says what this is.
            let sha256 = if at == offset { hash.as_str().to_owned() } else { String::new() };
            Ok(Some((wire::ObjectChunk { sha256, data: data.into() }, next)))
        }
    });
    Ok(Response::new(Box::pin(chunks)))
}
