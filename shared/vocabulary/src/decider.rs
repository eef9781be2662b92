//! The shape of the functional core: command in, events out, state with an evolve.

use serde::de::DeserializeOwned;

/// An aggregate. `Self` is its state; `Self::default()` is the state before the first event.
/// All functions are pure: the time, new ids and random seeds come in with the command.
pub trait Decider: Clone + Default + Send + Sync + 'static {
    /// The schema number of the snapshots that this build writes and reads. `None`: the history is always folded, which
    /// is right for aggregates that stay short. Raise it when the form, the state or what `evolve` does has changed.
    const SNAPSHOT: Option<i16> = None;

    /// What somebody wants. Imperatives: `PauseSweep`.
    type Command: Send + Sync;
    /// What has happened. Past facts: `SweepPaused`.
    type Event: StoredEvent;
    /// Why a wish is refused.
    type Rejection: Send;

    /// The events that the command leads to. A repeated wish ("already paused") is `Ok` without events.
    ///
    /// # Errors
    /// The reason why the command is refused; nothing is changed then.
    fn decide(&self, command: &Self::Command) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// Takes an event into the state. Never panics on a history that `decide` and `settle` have produced.
    fn evolve(&mut self, event: &Self::Event);

    /// What follows from an outcome, decided on the state that has it. `events` are all of the command's append so
    /// far, in order. Asked after the events of `decide`, and again after its own, until nothing more follows; of a
    /// command only, never on a replay, and not when `decide` led to no events.
    fn settle(&self, _command: &Self::Command, _events: &[Self::Event]) -> Vec<Self::Event> {
        Vec::new()
    }

    /// The state in a form that [`Decider::restore`] reads back to an equal one; `None` when it cannot be written now.
    fn snapshot(&self) -> Option<Vec<u8>> {
        None
    }

    /// The state that [`Decider::snapshot`] wrote with the same schema number; `None` when the bytes are not such.
    fn restore(_bytes: &[u8]) -> Option<Self> {
        None
    }
}

/// Rounds of [`Decider::settle`] that may lead to events after one command: more of them go round.
pub const SETTLE_ROUNDS_MAX: usize = 8;

/// What follows from a command never ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more follows after {max} rounds of consequences, at last {0}", max = SETTLE_ROUNDS_MAX)]
pub struct Unsettled(
    /// The type of the last event.
    pub &'static str,
);

/// Takes the events of an accepted command into the state, and all that follows from them; answers the whole append.
///
/// # Errors
/// When there is no end to it. The state has some of it then.
pub fn settled<D: Decider>(
    state: &mut D,
    command: &D::Command,
    mut events: Vec<D::Event>,
) -> Result<Vec<D::Event>, Unsettled> {
    events.iter().for_each(|event| state.evolve(event));
    for _ in 0..=SETTLE_ROUNDS_MAX {
        let more = if events.is_empty() { Vec::new() } else { state.settle(command, &events) };
        if more.is_empty() {
            return Ok(events);
        }
        more.iter().for_each(|event| state.evolve(event));
        events.extend(more);
    }
    Err(Unsettled(events.last().map_or("", StoredEvent::kind)))
}

/// An event that can be written down: a type name, a schema number and JSON.
pub trait StoredEvent: Clone + Send + Sync + Sized + 'static {
    /// The name in the `type` column, e.g. `SweepPaused`.
    fn kind(&self) -> &'static str;
    /// The schema number that this build writes for the event's type. Counts from 1.
    fn schema(&self) -> i16;
    /// The event's JSON.
    ///
    /// # Errors
    /// When a value has no JSON form (a non-finite number outside a type that spells it).
    fn encode(&self) -> Result<String, serde_json::Error>;
    /// Reads what any build has ever written, upcasting older schemas.
    ///
    /// # Errors
    /// When `kind` is unknown or `data` does not fit it.
    fn decode(kind: &str, schema: i16, data: &str) -> Result<Self, String>;
}

/// Brings the JSON of an older schema, whose number it gets, into the form that this build writes.
pub type Upcast = fn(&mut serde_json::Value, i16) -> Result<(), String>;

/// Reads an event's JSON, of `schema` where this build writes `newest`; used by [`stored_events!`].
///
/// # Errors
/// What serde or the upcaster found wrong, with the event's type.
pub fn decode_json<T: DeserializeOwned>(
    kind: &str,
    (schema, newest): (i16, i16),
    upcast: Option<Upcast>,
    data: &str,
) -> Result<T, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{kind} schema {schema}: {error}");
    match upcast {
        Some(upcast) if schema < newest => {
            let mut value = serde_json::from_str(data).map_err(|error| wrong(&error))?;
            upcast(&mut value, schema).map_err(|error| wrong(&error))?;
            serde_json::from_value(value).map_err(|error| wrong(&error))
        }
        _ => serde_json::from_str(data).map_err(|error| wrong(&error)),
    }
}

/// Declares the event enum of an aggregate. Each variant wraps a struct of the same name with serde's derives.
///
/// ```ignore
/// vocabulary::stored_events! {
///     /// What can happen to a sweep.
///     pub enum SweepEvent { SweepSubmitted: 2 upcast submitted, SweepPaused: 1 }
/// }
/// ```
/// The number is the schema that this build writes. To change a released event: raise the number and name an
/// [`Upcast`](crate::decider::Upcast), which sees the JSON of older schemas only. A field that the newest schema
/// always writes has no default: its absence is damage. What is stored is never rewritten.
#[macro_export]
macro_rules! stored_events {
    (
        $(#[$meta:meta])* $vis:vis enum $name:ident {
            $($variant:ident : $schema:literal $(upcast $upcast:path)?),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        $vis enum $name { $(#[doc = concat!("See [`", stringify!($variant), "`].")] $variant($variant)),+ }

        impl $crate::StoredEvent for $name {
            fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => stringify!($variant)),+ }
            }
            fn schema(&self) -> i16 {
                match self { $(Self::$variant(_) => $schema),+ }
            }
            fn encode(&self) -> Result<String, ::serde_json::Error> {
                match self { $(Self::$variant(event) => ::serde_json::to_string(event)),+ }
            }
            fn decode(kind: &str, schema: i16, data: &str) -> Result<Self, String> {
                match kind {
                    $(stringify!($variant) if (1..=$schema).contains(&schema) => {
                        let upcast: &[$crate::decider::Upcast] = &[$($upcast)?];
                        let upcast = upcast.first().copied();
                        $crate::decider::decode_json(kind, (schema, $schema), upcast, data).map(Self::$variant)
                    })+
                    _ => Err(format!("unknown event type {kind} schema {schema}")),
                }
            }
        }

        $(impl From<$variant> for $name { fn from(event: $variant) -> Self { Self::$variant(event) } })+
    };
}
