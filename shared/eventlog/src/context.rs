//! What comes with a command besides its content, and what comes back.

use uuid::Uuid;

/// Who wants something, under which command id, and on which condition.
#[derive(Clone, Debug)]
pub struct Context {
    /// The idempotency: the same id gives the first result again, for 30 days.
    pub command_id: Uuid,
    /// Hash of the request's bytes. The same command id with another hash, or for another stream, is a key reuse.
    /// `None` is the hash of nothing.
    pub request_hash: Option<[u8; 32]>,
    /// Who asked: a user, a service or a reaction.
    pub actor: String,
    /// The request that this belongs to, across services.
    pub request_id: String,
    /// The event that caused this, as `source:position`, for reactions.
    pub causation: Option<String>,
    /// W3C trace context of the request, when it has one.
    pub traceparent: Option<String>,
    /// Only when the stream is at this version (0 = absent).
    pub expected_version: Option<i64>,
    /// Stored with the command id and given back on a repeat.
    pub reply: Vec<u8>,
}

impl Context {
    /// A context without conditions.
    pub fn new(command_id: Uuid, actor: impl Into<String>, request_id: impl Into<String>) -> Self {
        Self {
            command_id,
            request_hash: None,
            actor: actor.into(),
            request_id: request_id.into(),
            causation: None,
            traceparent: None,
            expected_version: None,
            reply: Vec::new(),
        }
    }
}

/// How far a projection has come in a source. A cursor never moves back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorMove {
    /// The consumer's name.
    pub projection: String,
    /// `service@incarnation` of the log that is read.
    pub source: String,
    /// The partition of the source that the position counts in; a log that is read directly has one, 0.
    pub partition: i32,
    /// The position that has been taken in.
    pub position: i64,
    /// The event that stands there, where that is known: in a log that was set back and has grown again it is another
    /// one.
    pub event_id: Option<Uuid>,
    /// Where what carries the facts goes on after it, when that is no position: a hint. 0: not known.
    pub resume: i64,
}

/// What a command has led to. It is durable when this arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Position of the command's last event; the head of the log when it led to none.
    pub position: i64,
    /// The stream's version after the command.
    pub version: i64,
    /// How many events the command led to.
    pub events: usize,
    /// Whether the command id was known and this is the first result again.
    pub repeated: bool,
    /// The reply stored with the command id.
    pub reply: Vec<u8>,
}
