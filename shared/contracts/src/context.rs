//! What travels with a call beside its message: who asks, which command this is, what version it expects.

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Response};
use uuid::Uuid;

const COMMAND_ID: &str = "trialog-command-id";
const REQUEST_HASH: &str = "trialog-request-hash";
const ACTOR: &str = "trialog-actor";
/// The same for names that are no ASCII, which a text beside a message must be.
const ACTOR_BYTES: &str = "trialog-actor-bin";
const REQUEST_ID: &str = "x-request-id";
const EXPECTED_VERSION: &str = "trialog-expected-version";
const TRACEPARENT: &str = "traceparent";
const AT_LEAST: &str = "trialog-at-least";
const ATTEMPT: &str = "trialog-attempt";
const NODE_SECRET: &str = "trialog-node-secret";
const POSITION: &str = "trialog-position";
/// In answers to PUTs: the thing was not there before.
const MADE: &str = "trialog-made";

/// The context of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallContext {
    /// UUIDv5 of (workspace, method, path, Idempotency-Key), or a new UUIDv7. `None` in reads.
    pub command_id: Option<Uuid>,
    /// BLAKE3 of what was asked; the same command id with another hash is refused. `None` without an Idempotency-Key.
    pub request_hash: Option<[u8; 32]>,
    /// Who asks, e.g. `token:ab12`, `agent:node_…`.
    pub actor: String,
    /// The id under which logs speak of this request.
    pub request_id: String,
    /// W3C trace context of the request; empty when it has none.
    pub traceparent: String,
    /// From If-Match: the stream's version must be this.
    pub expected_version: Option<i64>,
    /// From Trialog-At-Least: the position that this service must have reached before it answers a read.
    pub at_least: Option<i64>,
    /// Whoever asks holds the token of this run's attempt, which is good for nothing once the attempt is over.
    pub attempt: Option<AttemptBearer>,
    /// Of a node's agent: its node, and the secret that proves it.
    pub node: Option<NodeBearer>,
}

/// The attempt whose token a request came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptBearer {
    /// The run.
    pub run_id: String,
    /// The attempt.
    pub attempt: u32,
}

/// The agent of a node.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeBearer {
    /// `node_…`.
    pub node_id: String,
    /// The node's secret.
    pub secret: String,
}

impl std::fmt::Debug for NodeBearer {
    /// Without the secret: it must not get into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeBearer").field("node_id", &self.node_id).finish_non_exhaustive()
    }
}

impl NodeBearer {
    /// The node whose agent has sent a call with these headers.
    pub fn of_headers(headers: &http::HeaderMap) -> Option<Self> {
        let (node_id, secret) = headers.get(NODE_SECRET)?.to_str().ok()?.split_once('.')?;
        Some(Self { node_id: node_id.to_owned(), secret: secret.to_owned() })
    }
}

/// Makes the headers of a call those of the agent of a node, which has proved it: who acts is not its own word.
pub fn act_as_agent(headers: &mut http::HeaderMap, node_id: &str) {
    headers.remove(ATTEMPT);
    headers.remove(ACTOR_BYTES);
    headers.remove(ACTOR);
    if let Ok(actor) = http::HeaderValue::from_str(&format!("agent:{node_id}")) {
        headers.insert(ACTOR, actor);
    }
}

impl CallContext {
    /// Puts the context beside a message.
    pub fn attach<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        put(metadata, COMMAND_ID, self.command_id.map(|id| id.to_string()));
        put(
            metadata,
            REQUEST_HASH,
            self.request_hash.map(|hash| hash.iter().map(|byte| format!("{byte:02x}")).collect()),
        );
        match self.actor.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            true => put(metadata, ACTOR, Some(self.actor.clone()).filter(|actor| !actor.is_empty())),
            false => drop(metadata.insert_bin(ACTOR_BYTES, MetadataValue::from_bytes(self.actor.as_bytes()))),
        }
        put(metadata, REQUEST_ID, Some(self.request_id.clone()).filter(|id| !id.is_empty()));
        put(metadata, TRACEPARENT, Some(self.traceparent.clone()).filter(|trace| !trace.is_empty()));
        put(metadata, EXPECTED_VERSION, self.expected_version.map(|version| version.to_string()));
        put(metadata, AT_LEAST, self.at_least.map(|position| position.to_string()));
        put(metadata, ATTEMPT, self.attempt.as_ref().map(|of| format!("{}.{}", of.run_id, of.attempt)));
        put(metadata, NODE_SECRET, self.node.as_ref().map(|of| format!("{}.{}", of.node_id, of.secret)));
        request
    }

    /// Reads the context of a call.
    pub fn of<T>(request: &Request<T>) -> Self {
        let metadata = request.metadata();
        let text = |key: &'static str| metadata.get(key).and_then(|value| value.to_str().ok());
        let bytes = |key: &'static str| String::from_utf8(metadata.get_bin(key)?.to_bytes().ok()?.to_vec()).ok();
        Self {
            command_id: text(COMMAND_ID).and_then(|id| Uuid::parse_str(id).ok()),
            request_hash: text(REQUEST_HASH).and_then(hash_of),
            actor: text(ACTOR).map(str::to_owned).or_else(|| bytes(ACTOR_BYTES)).unwrap_or_default(),
            request_id: text(REQUEST_ID).unwrap_or_default().to_owned(),
            traceparent: text(TRACEPARENT).unwrap_or_default().to_owned(),
            expected_version: text(EXPECTED_VERSION).and_then(|version| version.parse().ok()),
            at_least: text(AT_LEAST).and_then(|position| position.parse().ok()),
            attempt: text(ATTEMPT).and_then(|text| text.rsplit_once('.')).and_then(|(run_id, attempt)| {
                Some(AttemptBearer { run_id: run_id.to_owned(), attempt: attempt.parse().ok()? })
            }),
            node: NodeBearer::of_headers(metadata.as_ref()),
        }
    }
}

fn put(metadata: &mut MetadataMap, key: &'static str, value: Option<String>) {
    if let Some(value) = value.and_then(|text| MetadataValue::try_from(text).ok()) {
        metadata.insert(key, value);
    }
}

fn hash_of(hex: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(hash)
}

/// An answer to a write with the position that it was committed at, for `Trialog-Position`.
pub fn with_position<T>(message: T, position: i64) -> Response<T> {
    let mut response = Response::new(message);
    put(response.metadata_mut(), POSITION, Some(position.to_string()));
    response
}

/// Says in an answer to a PUT whether the thing was not there before.
pub fn with_made<T>(mut response: Response<T>, is_new: bool) -> Response<T> {
    put(response.metadata_mut(), MADE, is_new.then(|| "1".to_owned()));
    response
}

/// Whether the answer to a PUT says that the thing was not there before.
pub fn is_made<T>(response: &Response<T>) -> bool {
    response.metadata().contains_key(MADE)
}

/// The position in an answer; `None` in reads.
pub fn position_of<T>(response: &Response<T>) -> Option<i64> {
    response.metadata().get(POSITION)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_calls_is_known_by_any_name() {
        // A name that is no ASCII got lost on the way, and nobody had done what was done.
        for actor in ["ada", "first admin", "run:run_1#2", "Zoë", "花子"] {
            let sent = CallContext { actor: actor.to_owned(), ..CallContext::default() };
            assert_eq!(CallContext::of(&sent.attach(())).actor, actor);
        }
    }
}
