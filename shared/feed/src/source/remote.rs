//! Facts of a service in another process, through its `FeedService`.

use std::collections::BTreeMap;
use std::sync::Arc;

use contracts::Peer;
use contracts::feed::ReadRequest;
use contracts::feed::feed_service_client::FeedServiceClient;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tonic::Status;

use super::facts::{Cursor, FactSource, OpenError, Opened};
use super::server::{HEAD_HEADER, SOURCE_HEADER};

/// The feed of one service behind a peer.
#[derive(Clone, Debug)]
pub struct Remote {
    service: String,
    peer: Peer,
}

impl Remote {
    /// The feed of `service`.
    pub fn new(service: impl Into<String>, peer: Peer) -> Self {
        Self { service: service.into(), peer }
    }
}

impl FactSource for Remote {
    fn open<'a>(&'a self, cursor: &'a Cursor) -> BoxFuture<'a, Result<Opened, OpenError>> {
        Box::pin(async move {
            let mut client =
                FeedServiceClient::new(self.peer.clone()).max_decoding_message_size(contracts::peer::MESSAGE_BYTES_MAX);
            let (service, source, from) = (self.service.clone(), cursor.source.clone(), cursor.reached());
            let from_event_id = cursor.reached_event().map(|event| event.to_string()).unwrap_or_default();
            let request = ReadRequest { service, source, from, from_event_id, ..ReadRequest::default() };
            let answer = client.read(request).await.map_err(|status| refused(&status))?;
            let source = header(&answer, SOURCE_HEADER);
            let head = header(&answer, HEAD_HEADER).and_then(|head| head.parse().ok());
            let facts = answer.into_inner().map(|fact| match fact {
                Ok(fact) => Ok(Arc::new(fact)),
                Err(status) => Err(status.message().to_owned()),
            });
            // A build that names no source yet: positions count in what they counted in, or under the bare name.
            let bare = || if cursor.source.is_empty() { self.service.clone() } else { cursor.source.clone() };
            let source = source.unwrap_or_else(bare);
            Ok(Opened { source, head, from: BTreeMap::from([(0, from)]), facts: facts.boxed() })
        })
    }
}

fn header<T>(answer: &tonic::Response<T>, name: &str) -> Option<String> {
    Some(answer.metadata().get(name)?.to_str().ok()?.to_owned())
}

/// What a refusal says: see [`super::server`] for the other side.
fn refused(status: &Status) -> OpenError {
    let problem = contracts::problem_of(status);
    let text = |name: &str| problem.extra.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    let number = |name: &str| problem.extra.get(name).and_then(serde_json::Value::as_i64).unwrap_or_default();
    match problem.code.as_str() {
        "OtherIncarnation" => OpenError::OtherIncarnation { known: text("known"), met: text(SOURCE_HEADER) },
        "BeyondHead" => {
            OpenError::BeyondHead { source_name: text(SOURCE_HEADER), from: number("from"), head: number(HEAD_HEADER) }
        }
        "OtherHistory" => OpenError::OtherHistory { source_name: text(SOURCE_HEADER), from: number("from") },
        _ => OpenError::Away(problem.to_string()),
    }
}
