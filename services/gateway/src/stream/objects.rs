//! Objects in and out, chunk by chunk: nothing is held as a whole.

use actix_web::web::Payload;
use bytes::Bytes;
use contracts::CallContext;
use contracts::runs::{GetObjectRequest, ObjectChunk, ObjectFacts};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use vocabulary::Problem;

use crate::door::{Call, Pace, Refusal, Service};

/// Chunks of an upload on their way to the store; the client waits when it is faster.
const CHUNKS_UNDER_WAY: usize = 8;

/// Stores a body; `sha256` is what it must hash to, empty for whatever it is.
///
/// # Errors
/// Those of the store, and 400 when the body ends early: then nothing is stored.
pub async fn store(
    call: &Call,
    context: CallContext,
    sha256: &str,
    mut body: Payload,
) -> Result<tonic::Response<ObjectFacts>, Refusal> {
    let (sender, receiver) = mpsc::channel::<ObjectChunk>(CHUNKS_UNDER_WAY);
    let first = ObjectChunk { sha256: sha256.to_owned(), data: Vec::new(), workspace: call.workspace.clone() };
    // Actix's payload stays on its thread, the call's stream must not: chunks cross in the channel.
    let feed = async move {
        let mut pace = Pace::default();
        let mut next = Some(first);
        loop {
            if let Some(chunk) = next.take()
                && sender.send(chunk).await.is_err()
            {
                // The store has answered already.
                return Ok::<_, Problem>(());
            }
            match pace.next(&mut body).await? {
                Some(data) => next = Some(ObjectChunk { data: data.to_vec(), ..ObjectChunk::default() }),
                None => return Ok(()),
            }
        }
    };
    let mut client = call.peers().runs_client();
    let chunks = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let request = client.put_object(context.attach(()).map(|()| chunks));
    let request = async { request.await.map_err(Refusal::from) };
    // A broken body drops the call, and with it the store's half-written file.
    let ((), stored) = tokio::try_join!(async { feed.await.map_err(Refusal) }, request)?;
    Ok(stored)
}

/// The bytes of an object of the caller's workspace from `offset` on; `length` 0 = to its end.
///
/// # Errors
/// 404 when the workspace does not have it.
pub async fn content(
    call: &Call,
    sha256: &str,
    offset: u64,
    length: u64,
) -> Result<impl Stream<Item = Result<Bytes, actix_web::Error>> + 'static, Refusal> {
    let request = GetObjectRequest { sha256: sha256.to_owned(), offset, length, workspace: call.workspace.clone() };
    let context = call.reading(Service::Runs)?;
    let mut chunks = call.peers().runs_client().get_object(context.attach(request)).await?.into_inner();
    // What is damaged and short is refused before the answer has begun; later all that can be done is to break off.
    let first = chunks.message().await?;
    let rest = chunks.map_err(|status| Refusal::from(status).into());
    Ok(stream::iter(first.map(Ok)).chain(rest).map_ok(|chunk: ObjectChunk| Bytes::from(chunk.data)))
}
