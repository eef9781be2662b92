//! A service's log as facts: each event is mapped once, whoever reads it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contracts::about::About;
use contracts::feed::Fact;
use eventlog::{EventLog, RecordedEvent};
use serde::Deserialize;
use uuid::Uuid;

/// Events read at once. A page is a transaction of its own, so that no reader holds back the WAL.
pub(super) const PAGE_EVENTS: u32 = 1000;
/// Events whose facts are kept for readers that keep up, and the bytes of their payloads.
const KEPT_EVENTS: usize = 2_048;
const KEPT_BYTES: usize = 4 << 20;
/// Streams whose last fact is remembered, so that the next one can name it.
const STREAMS_KNOWN: usize = 65_536;

/// The type of a fact that nobody can read.
const UNREADABLE: &str = "Unreadable";

/// A fact made of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The fact's type: the name of its message.
    pub kind: &'static str,
    /// The encoded message.
    pub payload: Vec<u8>,
    /// Whom it is about.
    pub about: Ids,
}

/// What readers filter facts by; empty where a fact has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// The workspace.
    pub workspace: String,
    /// The sweep.
    pub sweep_id: String,
    /// The run.
    pub run_id: String,
}

impl Publication {
    /// Encodes a message under its name.
    pub fn new(kind: &'static str, message: &(impl prost::Message + About)) -> Self {
        let about = Ids {
            workspace: message.workspace().to_owned(),
            sweep_id: message.sweep_id().to_owned(),
            run_id: message.run_id().to_owned(),
        };
        Self { kind, payload: message.encode_to_vec(), about }
    }
}

/// Maps private events to public facts: pure, at most one fact an event.
pub trait Publish: Send + Sync + 'static {
    /// The fact of an event; `None` keeps it private.
    ///
    /// # Errors
    /// When the event cannot be decoded: it goes to all readers as one that nobody can read, so that none is skipped
    /// and only its lane waits.
    fn publish(&self, event: &RecordedEvent) -> Result<Option<Publication>, String>;
}

/// A service's log and the map that makes facts of it. Clones share what was mapped.
#[derive(Clone)]
pub struct Source {
    log: EventLog,
    publish: Arc<dyn Publish>,
    kept: Arc<Mutex<Kept>>,
}

/// What became of an event.
#[derive(Clone)]
pub(super) struct Published {
    pub position: i64,
    pub event_id: Uuid,
    /// `None` when it stays private.
    pub fact: Option<(Arc<Fact>, Arc<Ids>)>,
}

/// The latest events in order, without gaps.
#[derive(Default)]
struct Kept {
    events: VecDeque<Published>,
    bytes: usize,
    /// The position of the last fact of each stream that had one lately.
    last_facts: HashMap<String, i64>,
}

/// The origin of an event as the log stores it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta {
    request_id: String,
    causation: Option<String>,
    traceparent: Option<String>,
}

impl Source {
    /// The facts of `log` as `publish` makes them.
    pub fn new(log: EventLog, publish: impl Publish) -> Self {
        Self { log, publish: Arc::new(publish), kept: Arc::default() }
    }

    /// The log that the facts come from.
    pub fn log(&self) -> &EventLog {
        &self.log
    }

    /// What became of the events after a position, oldest first.
    pub(super) async fn page(&self, from: i64) -> Result<Vec<Published>, eventlog::Error> {
        if let Some(published) = self.kept().after(from) {
            return Ok(published);
        }
        let events = self.log.read(from, PAGE_EVENTS).await?;
        let mut published = Vec::with_capacity(events.len());
        let mut kept = self.kept();
        if let Some(published) = kept.after(from) {
            // Another reader was faster.
            return Ok(published);
        }
        for event in &events {
            published.push(kept.take_in(self.log.source(), event, self.publish.publish(event)));
        }
        Ok(published)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic of a map leaves at worst an end that is read anew.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// The events after a position, if all of them are here.
    fn after(&self, position: i64) -> Option<Vec<Published>> {
        let (first, last) = (self.events.front()?.position, self.events.back()?.position);
        if position + 1 < first || position >= last {
            return None;
        }
        let skipped = usize::try_from(position + 1 - first).ok()?;
        Some(self.events.iter().skip(skipped).cloned().collect())
    }

    /// Makes the fact of an event and keeps it when it is the next one. What a late reader reads anew is not kept; and
    /// when somebody reads what is newer than all that is here, that is kept instead: what was here is a late reader's.
    fn take_in(
        &mut self,
        source: &str,
        event: &RecordedEvent,
        publication: Result<Option<Publication>, String>,
    ) -> Published {
        if self.events.back().is_some_and(|last| last.position + 1 < event.position) {
            *self = Self::default();
        }
        let is_next = self.events.back().is_none_or(|last| last.position + 1 == event.position);
        let is_public = !matches!(publication, Ok(None));
        let previous = if is_next && is_public { self.name_last(event) } else { 0 };
        let fact = match publication {
            Ok(None) => None,
            Ok(Some(publication)) => Some(fact(source, event, previous, publication)),
            Err(error) => Some(unreadable(source, event, previous, &error)),
        };
        let published = Published { position: event.position, event_id: event.event_id, fact };
        if is_next {
            self.bytes += bytes(&published);
            self.events.push_back(published.clone());
            while self.events.len() > KEPT_EVENTS || (self.bytes > KEPT_BYTES && self.events.len() > 1) {
                let Some(gone) = self.events.pop_front() else { break };
                self.bytes -= bytes(&gone);
            }
        }
        published
    }

    /// Remembers a stream's newest fact and answers the one before; 0 when that is not known.
    fn name_last(&mut self, event: &RecordedEvent) -> i64 {
        if self.last_facts.len() >= STREAMS_KNOWN {
            self.last_facts.clear();
        }
        match self.last_facts.get_mut(&event.stream) {
            Some(last) => std::mem::replace(last, event.position),
            None => {
                self.last_facts.insert(event.stream.clone(), event.position);
                0
            }
        }
    }
}

fn bytes(published: &Published) -> usize {
    published.fact.as_ref().map_or(0, |(fact, _)| fact.payload.len())
}

fn fact(source: &str, event: &RecordedEvent, previous: i64, publication: Publication) -> (Arc<Fact>, Arc<Ids>) {
    // What is not there was not told; the fact itself does not depend on it.
    let meta: Meta = serde_json::from_str(&event.meta).unwrap_or_default();
    let fact = Fact {
        source: source.to_owned(),
        position: event.position,
        stream: event.stream.clone(),
        version: event.version,
        r#type: publication.kind.to_owned(),
        recorded_at_us: event.recorded_at_us,
        event_id: event.event_id.to_string(),
        causation: meta.causation.unwrap_or_default(),
        payload: publication.payload,
        watermark: false,
        previous,
        partition: 0,
        request_id: meta.request_id,
        traceparent: meta.traceparent.unwrap_or_default(),
        unreadable: String::new(),
        resume: 0,
    };
    (Arc::new(fact), Arc::new(publication.about))
}

/// What an event is told as that its own service cannot read. Whom it is about is not known.
fn unreadable(source: &str, event: &RecordedEvent, previous: i64, error: &str) -> (Arc<Fact>, Arc<Ids>) {
    let reason = format!("event {} of {} ({}): {error}", event.position, event.stream, event.kind);
    tracing::error!(source, "an event cannot be read: {reason}");
    metrics::counter!("trialog_feed_unreadable_total", "source" => source.to_owned()).increment(1);
    let payload = event.data.clone().into_bytes();
    let publication = Publication { kind: UNREADABLE, payload, about: Ids::default() };
    let (fact, about) = fact(source, event, previous, publication);
    (Arc::new(Fact { unreadable: reason, ..Arc::unwrap_or_clone(fact) }), about)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(position: i64) -> RecordedEvent {
        RecordedEvent {
            position,
            stream: "a".to_owned(),
            version: position,
            event_id: Uuid::nil(),
            kind: "K".to_owned(),
            schema: 1,
            command_id: Uuid::nil(),
            recorded_at_us: 0,
            data: String::new(),
            meta: String::new(),
        }
    }

    fn read(kept: &mut Kept, positions: std::ops::Range<i64>) -> Vec<i64> {
        let publication = || Publication { kind: "K", payload: vec![1], about: Ids::default() };
        let facts = positions.filter_map(|at| kept.take_in("s@1", &event(at), Ok(Some(publication()))).fact);
        facts.map(|(fact, _)| fact.previous).collect()
    }

    #[test]
    fn the_newest_facts_are_kept_though_the_first_reader_begins_far_back() {
        // Else every other reader would have each event mapped for itself, as long as the first one is behind.
        let mut kept = Kept::default();
        read(&mut kept, 1..11);
        assert_eq!(read(&mut kept, 900..903), [0, 900, 901], "what came between is not known");
        assert_eq!(kept.after(899).unwrap().len(), 3);
        assert_eq!(read(&mut kept, 11..21), [0; 10], "what a late reader reads is not kept");
        assert!(kept.after(10).is_none());
        read(&mut kept, 903..904);
        assert_eq!(kept.after(900).unwrap().iter().map(|kept| kept.position).collect::<Vec<_>>(), [901, 902, 903]);
    }
}
