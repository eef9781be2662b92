//! Commands with their types erased, so that one writer serves all aggregates of a service.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::oneshot;
use vocabulary::{Decider, StoredEvent, settled};

use crate::event::is_separable;
#[cfg(feature = "fail-points")]
use crate::fail_points::{self, FailPoint};
use crate::snapshots::SnapshotRow;
use crate::{BoxFuture, Committed, Context, CursorMove, Error, ExecuteError, RecordError, Transaction};

/// The state of some aggregate.
pub(crate) trait State: Any + Send + Sync {
    /// Takes a stored event in.
    fn fold(&mut self, kind: &str, schema: i16, data: &str) -> Result<(), Error>;
    /// A copy to be changed, for when somebody reads the state.
    fn copy(&self) -> Arc<dyn State>;
    /// The state in its written form with that form's schema number, if it has one.
    fn snapshot(&self) -> Option<(i16, Vec<u8>)>;
    /// The state of this kind that a snapshot holds; `None` when this build does not read it.
    fn restore(&self, snapshot: &SnapshotRow) -> Option<Arc<dyn State>>;
}

impl<D: Decider> State for D {
    fn fold(&mut self, kind: &str, schema: i16, data: &str) -> Result<(), Error> {
        let event = D::Event::decode(kind, schema, data).map_err(Error::Decode)?;
        catch_unwind(AssertUnwindSafe(|| self.evolve(&event)))
            .map_err(|panic| Error::Panicked(panic_text(panic.as_ref())))
    }

    fn copy(&self) -> Arc<dyn State> {
        Arc::new(self.clone())
    }

    fn snapshot(&self) -> Option<(i16, Vec<u8>)> {
        let schema = D::SNAPSHOT?;
        let bytes = catch_unwind(AssertUnwindSafe(|| D::snapshot(self))).ok()??;
        Some((schema, bytes))
    }

    fn restore(&self, snapshot: &SnapshotRow) -> Option<Arc<dyn State>> {
        if D::SNAPSHOT != Some(snapshot.schema) {
            return None;
        }
        let state = catch_unwind(|| D::restore(&snapshot.bytes)).ok()??;
        Some(Arc::new(state))
    }
}

/// An event ready to be written.
pub(crate) struct Encoded {
    pub kind: &'static str,
    pub schema: i16,
    pub data: String,
}

/// What an accepted command leads to.
pub(crate) struct Decision {
    pub events: Vec<Encoded>,
    /// Takes the place of the context's reply when it is not empty.
    pub reply: Vec<u8>,
}

/// Why a command leads to nothing.
pub(crate) enum Refusal {
    /// The decider's own reason, kept inside the work until it is answered.
    Rejected,
    /// This command failed; the state is as it was.
    Failed(Error),
    /// The state may be half changed: the whole batch is to be decided anew.
    Poisoned(Error),
}

/// What a caller is told, after the commit.
pub(crate) enum Answer {
    Committed(Committed),
    /// The reason is in the work.
    Rejected,
    WrongVersion {
        expected: i64,
        actual: i64,
    },
    KeyReuse,
    Failed(Error),
}

/// A command with its decider.
pub(crate) trait Work: Send {
    /// The state before the first event.
    fn fresh(&self) -> Arc<dyn State>;
    /// Whether the state is one of this work's decider.
    fn understands(&self, state: &dyn State) -> bool;
    /// Whether [`Work::run`] needs a transaction.
    fn records(&self) -> bool;
    /// Decides and takes the events into the state. May be called again after a rollback.
    fn decide(&mut self, state: &mut Arc<dyn State>) -> Result<Decision, Refusal>;
    /// The same with the transaction at hand.
    fn run<'a>(
        &'a mut self,
        state: &'a mut Arc<dyn State>,
        tx: &'a mut Transaction,
    ) -> BoxFuture<'a, Result<Decision, Refusal>>;
    /// Tells the caller.
    fn answer(self: Box<Self>, answer: Answer);
}

/// A command on its way to the writer.
pub(crate) struct Append {
    pub stream: Arc<str>,
    pub context: Context,
    pub work: Box<dyn Work>,
    /// A batch with it has failed: it is not taken for new again before it was looked up.
    pub is_doubtful: bool,
}

/// Everything that can be asked of the writer.
pub(crate) enum Item {
    Append(Append),
    Snapshot(SnapshotRow, oneshot::Sender<()>),
    Cursor(CursorMove, oneshot::Sender<Result<(), Error>>),
}

type Reply<R> = oneshot::Sender<Result<Committed, ExecuteError<R>>>;

/// A plain command.
pub(crate) struct Execute<D: Decider> {
    command: D::Command,
    rejection: Option<D::Rejection>,
    reply: Reply<D::Rejection>,
}

impl<D: Decider> Execute<D> {
    pub fn new(command: D::Command, reply: Reply<D::Rejection>) -> Self {
        Self { command, rejection: None, reply }
    }
}

impl<D: Decider> Work for Execute<D> {
    fn fresh(&self) -> Arc<dyn State> {
        Arc::new(D::default())
    }

    fn understands(&self, state: &dyn State) -> bool {
        (state as &dyn Any).is::<D>()
    }

    fn records(&self) -> bool {
        false
    }

    fn decide(&mut self, state: &mut Arc<dyn State>) -> Result<Decision, Refusal> {
        let seen = typed::<D>(state)?;
        match catch_unwind(AssertUnwindSafe(|| seen.decide(&self.command))) {
            Ok(Ok(events)) => Ok(settle::<D>(state, Some(&self.command), events)?.decision(Vec::new())),
            Ok(Err(rejection)) => {
                self.rejection = Some(rejection);
                Err(Refusal::Rejected)
            }
            Err(panic) => Err(Refusal::Failed(Error::Panicked(panic_text(panic.as_ref())))),
        }
    }

    fn run<'a>(
        &'a mut self,
        state: &'a mut Arc<dyn State>,
        _: &'a mut Transaction,
    ) -> BoxFuture<'a, Result<Decision, Refusal>> {
        let decided = self.decide(state);
        std::future::ready(decided).boxed()
    }

    fn answer(self: Box<Self>, answer: Answer) {
        tell(self.reply, self.rejection, answer);
    }
}

/// A plain command whose reply is made of what was decided.
pub(crate) struct Answering<D: Decider, F> {
    command: D::Command,
    reply_of: F,
    rejection: Option<D::Rejection>,
    reply: Reply<D::Rejection>,
}

impl<D: Decider, F> Answering<D, F> {
    pub fn new(command: D::Command, reply_of: F, reply: Reply<D::Rejection>) -> Self {
        Self { command, reply_of, rejection: None, reply }
    }
}

impl<D: Decider, F: Fn(&D, &[D::Event]) -> Vec<u8> + Send> Work for Answering<D, F> {
    fn fresh(&self) -> Arc<dyn State> {
        Arc::new(D::default())
    }

    fn understands(&self, state: &dyn State) -> bool {
        (state as &dyn Any).is::<D>()
    }

    fn records(&self) -> bool {
        false
    }

    fn decide(&mut self, state: &mut Arc<dyn State>) -> Result<Decision, Refusal> {
        let seen = typed::<D>(state)?;
        match catch_unwind(AssertUnwindSafe(|| seen.decide(&self.command))) {
            Ok(Ok(events)) => {
                let settled = settle::<D>(state, Some(&self.command), events)?;
                let seen = typed::<D>(state)?;
                let reply = catch_unwind(AssertUnwindSafe(|| (self.reply_of)(seen, &settled.events)));
                let reply = reply.map_err(|panic| Refusal::Poisoned(Error::Panicked(panic_text(panic.as_ref()))))?;
                Ok(settled.decision(reply))
            }
            Ok(Err(rejection)) => {
                self.rejection = Some(rejection);
                Err(Refusal::Rejected)
            }
            Err(panic) => Err(Refusal::Failed(Error::Panicked(panic_text(panic.as_ref())))),
        }
    }

    fn run<'a>(
        &'a mut self,
        state: &'a mut Arc<dyn State>,
        _: &'a mut Transaction,
    ) -> BoxFuture<'a, Result<Decision, Refusal>> {
        let decided = self.decide(state);
        std::future::ready(decided).boxed()
    }

    fn answer(self: Box<Self>, answer: Answer) {
        tell(self.reply, self.rejection, answer);
    }
}

/// What the work of [`crate::EventLog::record`] answers.
#[derive(Clone, Debug)]
pub struct Recorded<E> {
    /// The events to append; may be none.
    pub events: Vec<E>,
    /// Stored with the command id and given back on a repeat; an empty one leaves the context's reply in place.
    pub reply: Vec<u8>,
}

/// A command whose decision reads or writes rows.
pub(crate) struct Record<D: Decider, F> {
    /// What the work decides, if it decides one command: with it is settled what follows.
    command: Option<Arc<D::Command>>,
    work: F,
    rejection: Option<D::Rejection>,
    reply: Reply<D::Rejection>,
}

impl<D: Decider, F> Record<D, F> {
    pub fn new(command: Option<Arc<D::Command>>, work: F, reply: Reply<D::Rejection>) -> Self {
        Self { command, work, rejection: None, reply }
    }
}

impl<D, F> Work for Record<D, F>
where
    D: Decider,
    F: for<'a> Fn(&'a D, &'a mut Transaction) -> BoxFuture<'a, Result<Recorded<D::Event>, RecordError<D::Rejection>>>
        + Send
        + Sync
        + 'static,
{
    fn fresh(&self) -> Arc<dyn State> {
        Arc::new(D::default())
    }

    fn understands(&self, state: &dyn State) -> bool {
        (state as &dyn Any).is::<D>()
    }

    fn records(&self) -> bool {
        true
    }

    fn decide(&mut self, _: &mut Arc<dyn State>) -> Result<Decision, Refusal> {
        // The writer asks `records` first, so this cannot be reached.
        Err(Refusal::Failed(Error::Encode("a record was decided outside a transaction".to_owned())))
    }

    fn run<'a>(
        &'a mut self,
        state: &'a mut Arc<dyn State>,
        tx: &'a mut Transaction,
    ) -> BoxFuture<'a, Result<Decision, Refusal>> {
        Box::pin(async move {
            let seen = typed::<D>(state)?;
            tx.begin_part().await.map_err(Refusal::Poisoned)?;
            let outcome = async { (self.work)(seen, &mut *tx).await };
            let outcome = AssertUnwindSafe(outcome).catch_unwind().await;
            let decided = match outcome {
                Ok(Ok(Recorded { events, reply })) => {
                    settle::<D>(state, self.command.as_deref(), events).map(|settled| settled.decision(reply))
                }
                Ok(Err(RecordError::Rejected(rejection))) => {
                    self.rejection = Some(rejection);
                    Err(Refusal::Rejected)
                }
                // The store may have rolled the whole transaction back by itself.
                Ok(Err(RecordError::Storage(error))) if error.is_systemic() => Err(Refusal::Poisoned(error)),
                Ok(Err(RecordError::Storage(error))) => Err(Refusal::Failed(error)),
                Err(panic) => Err(Refusal::Failed(Error::Panicked(panic_text(panic.as_ref())))),
            };
            match &decided {
                #[cfg(feature = "fail-points")]
                Ok(_) if fail_points::strikes(FailPoint::DropRows) => {
                    tx.undo_part().await.map_err(Refusal::Poisoned)?
                }
                Ok(_) => tx.keep_part().await.map_err(Refusal::Poisoned)?,
                // Whatever the reason: the caller is told that nothing is stored.
                Err(Refusal::Rejected | Refusal::Failed(_)) => tx.undo_part().await.map_err(Refusal::Poisoned)?,
                // The whole transaction is rolled back.
                Err(Refusal::Poisoned(_)) => {}
            }
            decided
        })
    }

    fn answer(self: Box<Self>, answer: Answer) {
        tell(self.reply, self.rejection, answer);
    }
}

fn typed<D: Decider>(state: &Arc<dyn State>) -> Result<&D, Refusal> {
    (state.as_ref() as &dyn Any).downcast_ref::<D>().ok_or_else(other_aggregate::<D>)
}

/// The state to be changed: itself, or a copy when somebody reads it.
fn own<D: Decider>(state: &mut Arc<dyn State>) -> Result<&mut D, Refusal> {
    if Arc::get_mut(state).is_none() {
        *state = state.as_ref().copy();
    }
    let owned = Arc::get_mut(state).and_then(|state| (state as &mut dyn Any).downcast_mut::<D>());
    owned.ok_or_else(other_aggregate::<D>)
}

fn other_aggregate<D>() -> Refusal {
    Refusal::Poisoned(Error::OtherAggregate(std::any::type_name::<D>().to_owned()))
}

/// The events of an append, and as they are written.
struct Settled<E> {
    events: Vec<E>,
    encoded: Vec<Encoded>,
}

impl<E> Settled<E> {
    fn decision(self, reply: Vec<u8>) -> Decision {
        Decision { events: self.encoded, reply }
    }
}

/// Takes events into the state, with what follows from them. They are encoded first, so that one that cannot be
/// leaves the state as it was.
fn settle<D: Decider>(
    state: &mut Arc<dyn State>,
    command: Option<&D::Command>,
    events: Vec<D::Event>,
) -> Result<Settled<D::Event>, Refusal> {
    let mut encoded = events.iter().map(encode).collect::<Result<Vec<_>, Error>>().map_err(Refusal::Failed)?;
    if events.is_empty() {
        return Ok(Settled { events, encoded });
    }
    let state = own::<D>(state)?;
    let events = catch_unwind(AssertUnwindSafe(|| match command {
        Some(command) => settled(state, command, events),
        None => {
            events.iter().for_each(|event| state.evolve(event));
            Ok(events)
        }
    }));
    let events = events.map_err(|panic| Refusal::Poisoned(Error::Panicked(panic_text(panic.as_ref()))))?;
    let events = events.map_err(|unsettled| Refusal::Poisoned(Error::Unsettled(unsettled)))?;
    for event in &events[encoded.len()..] {
        encoded.push(encode(event).map_err(Refusal::Poisoned)?);
    }
    Ok(Settled { events, encoded })
}

fn encode<E: StoredEvent>(event: &E) -> Result<Encoded, Error> {
    let data = event.encode().map_err(|error| Error::Encode(format!("{}: {error}", event.kind())))?;
    if !is_separable(&data) {
        return Err(Error::Encode(format!("{}: a raw control character", event.kind())));
    }
    Ok(Encoded { kind: event.kind(), schema: event.schema(), data })
}

/// A caller that has gone away is no error: its command stands.
fn tell<R>(reply: Reply<R>, rejection: Option<R>, answer: Answer) {
    let result = match answer {
        Answer::Committed(committed) => Ok(committed),
        Answer::Rejected => Err(rejection.map_or(ExecuteError::Storage(Error::Closed), ExecuteError::Rejected)),
        Answer::WrongVersion { expected, actual } => Err(ExecuteError::WrongVersion { expected, actual }),
        Answer::KeyReuse => Err(ExecuteError::KeyReuse),
        Answer::Failed(error) => Err(ExecuteError::Storage(error)),
    };
    drop(reply.send(result));
}

/// The message of a panic, when it has one.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}
