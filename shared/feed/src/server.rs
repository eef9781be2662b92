//! Serves `FeedService` from the events tables of the services in this process.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use contracts::feed::feed_service_server::FeedService;
use contracts::feed::{Fact, ReadRequest};
use eventlog::{EventLog, RecordedEvent};
use futures_util::Stream;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};
use vocabulary::Problem;

/// Events read at once. A page is a transaction of its own, so that no reader holds back the WAL.
const PAGE_EVENTS: u32 = 1000;
/// Facts that wait for one slow reader; a full buffer makes its page wait, nobody else's.
const BUFFERED_FACTS: usize = 512;

/// A fact made of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The fact's type: the name of its message.
    pub kind: &'static str,
    /// The encoded message.
    pub payload: Vec<u8>,
}

impl Publication {
    /// Encodes a message under its name.
    pub fn new(kind: &'static str, message: &impl prost::Message) -> Self {
        Self { kind, payload: message.encode_to_vec() }
    }
}

/// Maps private events to public facts: pure, at most one fact an event.
pub trait Publish: Send + Sync + 'static {
    /// The fact of an event; `None` keeps it private.
    ///
    /// # Errors
    /// When the event cannot be decoded: the feed stops there, nothing is skipped.
    fn publish(&self, event: &RecordedEvent) -> Result<Option<Publication>, String>;
}

/// A service's log and the map that makes facts of it.
#[derive(Clone)]
pub struct Source {
    log: EventLog,
    publish: Arc<dyn Publish>,
}

impl Source {
    /// The facts of `log` as `publish` makes them.
    pub fn new(log: EventLog, publish: impl Publish) -> Self {
        Self { log, publish: Arc::new(publish) }
    }

    /// The log that the facts come from.
    pub fn log(&self) -> &EventLog {
        &self.log
    }
}

/// All feeds of this process.
#[derive(Clone, Default)]
pub struct FeedServer {
    sources: BTreeMap<&'static str, Source>,
}

impl FeedServer {
    /// A server without feeds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service's feed.
    pub fn add(&mut self, service: &'static str, source: Source) {
        self.sources.insert(service, source);
    }
}

#[tonic::async_trait]
impl FeedService for FeedServer {
    type ReadStream = Pin<Box<dyn Stream<Item = Result<Fact, Status>> + Send>>;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        let Some(source) = self.sources.get(request.service.as_str()) else {
            let here: Vec<_> = self.sources.keys().copied().collect();
            let detail = format!("no feed of '{}' here; here are: {}", request.service, here.join(", "));
            return Err(contracts::status_of(&Problem::new(404, "NotFound", detail)));
        };
        let (facts, receiver) = mpsc::channel(BUFFERED_FACTS);
        tokio::spawn(pump(source.clone(), request.from.max(0), request.until_head, facts));
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))))
    }
}

/// Reads pages from the table and sends their facts, until the reader is gone.
async fn pump(source: Source, mut from: i64, until_head: bool, facts: mpsc::Sender<Result<Fact, Status>>) {
    let mut head = source.log.head();
    loop {
        let known = *head.borrow_and_update();
        while from < known {
            let page = match source.log.read(from, PAGE_EVENTS).await {
                Ok(page) => page,
                Err(error) => {
                    let problem = Problem::unavailable("LogUnavailable", error.to_string(), 1);
                    let _ = facts.send(Err(contracts::status_of(&problem))).await;
                    return;
                }
            };
            let Some(last) = page.last().map(|event| event.position) else { break };
            if !send(&source, &page, &facts).await {
                return;
            }
            from = last;
        }
        if until_head {
            return;
        }
        tokio::select! {
            changed = head.changed() => if changed.is_err() { return },
            () = facts.closed() => return,
        }
    }
}

/// Sends a page's facts, and a watermark when the page ends in private events. False when the reader is gone.
async fn send(source: &Source, page: &[RecordedEvent], facts: &mpsc::Sender<Result<Fact, Status>>) -> bool {
    let mut silent_to = None;
    for event in page {
        let item = match source.publish.publish(event) {
            Ok(Some(publication)) => Ok(fact(source, event, publication)),
            Ok(None) => {
                silent_to = Some(event.position);
                continue;
            }
            Err(error) => Err(Status::data_loss(format!("event {} of {}: {error}", event.position, event.stream))),
        };
        silent_to = None;
        let broken = item.is_err();
        if facts.send(item).await.is_err() || broken {
            return false;
        }
    }
    match silent_to {
        Some(position) => {
            let source = source.log.source().to_owned();
            facts.send(Ok(Fact { source, position, watermark: true, ..Fact::default() })).await.is_ok()
        }
        None => true,
    }
}

fn fact(source: &Source, event: &RecordedEvent, publication: Publication) -> Fact {
    Fact {
        source: source.log.source().to_owned(),
        position: event.position,
        stream: event.stream.clone(),
        version: event.version,
        r#type: publication.kind.to_owned(),
        recorded_at_us: event.recorded_at_us,
        event_id: event.event_id.to_string(),
        causation: String::new(),
        payload: publication.payload,
        watermark: false,
        ..Fact::default()
    }
}
