//! Deciding a batch in queue order on provisional state.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use crate::aggregates::Entry;
#[cfg(feature = "fail-points")]
use crate::fail_points::{self, FailPoint};
use crate::identity::{event_id, fingerprint};
use crate::known::Known;
use crate::store::{CommandRow, CursorAt, Rows};
use crate::view::{self, View};
use crate::work::{Answer, Append, Decision, Refusal};
use crate::{Committed, Context, CursorMove, Error, RecordedEvent, Transaction};

/// Bytes of events after which a batch is full; what is left is the next batch.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// The aggregates that a batch decides on.
pub(crate) type Taken = HashMap<Arc<str>, Entry>;

/// A batch in the making.
pub(crate) struct Batch {
    /// Commands accepted before, and those accepted in this batch.
    pub known: HashMap<Uuid, Known>,
    pub rows: Rows,
    /// One per command that was decided, in queue order.
    pub answers: Vec<Answer>,
    /// Streams whose state is ahead of the database until the commit.
    pub touched: Vec<Arc<str>>,
    /// Position of the last event so far.
    pub head: i64,
    pub now_us: i64,
    /// By the time that commands are forgotten by, see `crate::known::Shelf`.
    pub shelved_us: i64,
    bytes: usize,
    /// How many of the events the views have taken in.
    viewed: usize,
}

/// The origin of an event, as stored in the `meta` column.
#[derive(Serialize)]
struct Meta<'a> {
    actor: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
}

impl Batch {
    pub fn new(known: HashMap<Uuid, Known>, head: i64, now_us: i64, shelved_us: i64) -> Self {
        Self {
            known,
            rows: Rows::default(),
            answers: Vec::new(),
            touched: Vec::new(),
            head,
            now_us,
            shelved_us,
            bytes: 0,
            viewed: 0,
        }
    }

    pub fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES_MAX
    }

    /// Moves a cursor with the commit; never back.
    pub fn move_cursor(&mut self, cursor: &CursorMove) {
        let CursorMove { projection, source, partition, position, event_id, resume } = cursor.clone();
        let to = CursorAt { position, event_id, resume };
        self.rows.cursors.entry((projection, source, partition)).or_insert(to).move_to(to);
    }

    /// Decides everything that needs no transaction.
    pub fn decide_all(&mut self, taken: &mut Taken, appends: &mut [Append]) -> Result<(), Error> {
        for append in appends {
            if self.is_full() {
                break;
            }
            let answer = match self.before(taken, append)? {
                Before::Decided(answer) => answer,
                Before::Open(fingerprint, entry) => {
                    let decided = append.work.decide(&mut entry.state);
                    let before = entry.version;
                    self.after(taken, append, fingerprint, before, decided)?
                }
            };
            self.answers.push(answer);
        }
        Ok(())
    }

    /// Decides inside the transaction. A record sees the rows of all commands before it, those of views too.
    pub async fn run_all(
        &mut self,
        taken: &mut Taken,
        views: &[Arc<dyn View>],
        appends: &mut [Append],
        tx: &mut Transaction,
    ) -> Result<(), Error> {
        for append in appends {
            if self.is_full() {
                break;
            }
            if append.work.records() {
                self.apply_views(views, tx).await?;
            }
            let answer = match self.before(taken, append)? {
                Before::Decided(answer) => answer,
                Before::Open(fingerprint, entry) => {
                    let decided = append.work.run(&mut entry.state, tx).await;
                    let before = entry.version;
                    self.after(taken, append, fingerprint, before, decided)?
                }
            };
            self.answers.push(answer);
        }
        self.apply_views(views, tx).await
    }

    /// Whether any view has to be applied.
    pub fn is_wanted_by(&self, views: &[Arc<dyn View>]) -> bool {
        self.rows.events[self.viewed..].iter().any(|event| views.iter().any(|view| view.wants(event)))
    }

    async fn apply_views(&mut self, views: &[Arc<dyn View>], tx: &mut Transaction) -> Result<(), Error> {
        let events = &self.rows.events[self.viewed..];
        for view in views.iter().filter(|view| events.iter().any(|event| view.wants(event))) {
            view::apply(view.as_ref(), tx, events).await?;
        }
        self.viewed = self.rows.events.len();
        Ok(())
    }

    /// What can be said without the decider: a repeat, a key reuse, a wrong version.
    fn before<'c>(&mut self, taken: &'c mut Taken, append: &Append) -> Result<Before<'c>, Error> {
        let Context { command_id, request_hash, expected_version, .. } = &append.context;
        let fingerprint = fingerprint(&append.stream, request_hash.as_ref());
        if let Some(known) = self.known.get(command_id) {
            if known.fingerprint != fingerprint {
                return Ok(Before::Decided(Answer::KeyReuse));
            }
            let committed = known.committed.clone();
            return Ok(Before::Decided(Answer::Committed(committed)));
        }
        let entry = taken.get_mut(&append.stream).filter(|entry| append.work.understands(entry.state.as_ref()));
        let entry = entry.ok_or_else(|| Error::OtherAggregate(append.stream.as_ref().to_owned()))?;
        match *expected_version {
            Some(expected) if expected != entry.version => {
                Ok(Before::Decided(Answer::WrongVersion { expected, actual: entry.version }))
            }
            _ => Ok(Before::Open(fingerprint, entry)),
        }
    }

    fn after(
        &mut self,
        taken: &mut Taken,
        append: &Append,
        fingerprint: [u8; 16],
        before: i64,
        decided: Result<Decision, Refusal>,
    ) -> Result<Answer, Error> {
        let decision = match decided {
            #[cfg(feature = "fail-points")]
            Ok(decision) if fail_points::strikes(FailPoint::AppendTwice) => decision.twice(),
            Ok(decision) => decision,
            Err(Refusal::Rejected) => {
                return Ok(Answer::Rejected);
            }
            Err(Refusal::Failed(error)) => return Ok(Answer::Failed(error)),
            Err(Refusal::Poisoned(error)) => {
                self.touched.push(Arc::clone(&append.stream));
                return Err(error);
            }
        };
        let (events, first) = (decision.events.len(), self.head + 1);
        let reply = if decision.reply.is_empty() { append.context.reply.clone() } else { decision.reply.clone() };
        let version = self.push_events(append, before, decision);
        if events > 0 {
            self.touched.push(Arc::clone(&append.stream));
            if let Some(entry) = taken.get_mut(&append.stream) {
                entry.version = version;
            }
        }
        let committed = Committed { position: self.head, version, events, repeated: false, reply };
        // A reply that was made of nothing that happened can be made again.
        let promised = !append.context.reply.is_empty() || append.context.request_hash.is_some();
        if events > 0 || promised || append.work.records() {
            self.remember(append.context.command_id, fingerprint, first, &committed);
        }
        Ok(Answer::Committed(committed))
    }

    fn push_events(&mut self, append: &Append, before: i64, decision: Decision) -> i64 {
        if decision.events.is_empty() {
            return before;
        }
        let Context { actor, request_id, causation, traceparent, command_id, .. } = &append.context;
        let meta = Meta { actor, request_id, causation: causation.as_deref(), traceparent: traceparent.as_deref() };
        let meta = serde_json::to_string(&meta).expect("three texts always have a JSON form");
        let mut version = before;
        for (index, event) in decision.events.into_iter().enumerate() {
            version += 1;
            self.head += 1;
            self.bytes += event.data.len() + meta.len();
            self.rows.events.push(RecordedEvent {
                position: self.head,
                stream: append.stream.as_ref().to_owned(),
                version,
                event_id: event_id(*command_id, index),
                kind: event.kind.to_owned(),
                schema: event.schema,
                command_id: *command_id,
                recorded_at_us: self.now_us,
                data: event.data,
                meta: meta.clone(),
            });
        }
        version
    }

    fn remember(&mut self, command_id: Uuid, fingerprint: [u8; 16], first_position: i64, committed: &Committed) {
        self.bytes += committed.reply.len();
        self.rows.commands.push(CommandRow {
            command_id,
            fingerprint,
            first_position,
            last_position: committed.position,
            version: committed.version,
            reply: committed.reply.clone(),
            at_us: self.shelved_us,
        });
        self.known
            .insert(command_id, Known { fingerprint, committed: Committed { repeated: true, ..committed.clone() } });
    }
}

/// How far a command gets without its decider.
enum Before<'c> {
    Decided(Answer),
    Open([u8; 16], &'c mut Entry),
}
