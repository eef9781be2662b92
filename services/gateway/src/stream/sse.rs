//! Server-sent events: the facts of one or several services, merged as they come, resumable by position.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use contracts::feed::feed_service_client::FeedServiceClient;
use contracts::feed::{Fact, ReadRequest};
use futures_util::stream::{SelectAll, Stream, StreamExt};
use tokio::sync::mpsc;
use vocabulary::Problem;

use super::rendered::Rendered;
use crate::door::{Call, Refusal, Reply, Seen, Service, parse_positions};

/// A comment goes out after so much silence, so that proxies keep the connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Events that wait for a slow reader.
const BUFFERED_EVENTS: usize = 256;
/// How long a full buffer is borne; then the reader is cut off and may resume from its last id.
const SLOW_READER: Duration = Duration::from_secs(20);
/// What a reader is given.
const PACE: Pace = Pace { heartbeat: HEARTBEAT, patience: SLOW_READER };
/// Instead of a position of each service.
const BEGINNING: &str = "0";
/// How much the clocks of the services' machines may differ.
const CLOCKS_APART_US: i64 = 60_000_000;

/// How a stream keeps in touch with its reader.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// So long nothing is sent at most.
    heartbeat: Duration,
    /// So long a frame waits for the reader.
    patience: Duration,
}

/// Which events a reader wants.
#[derive(Clone, Debug)]
pub struct EventsOf {
    /// The services that are read.
    pub services: &'static [Service],
    /// Only this workspace.
    pub workspace: String,
    /// Only about this sweep; empty: any.
    pub sweep_id: String,
    /// Only about this run; empty: any.
    pub run_id: String,
    /// Where a reader begins that names no position.
    pub begin: Begin,
}

/// Where a reader begins that names no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With what happens from now on.
    Now,
    /// With what happened at this time, in microseconds since 1970: the beginning of what is followed.
    Since(i64),
}

impl EventsOf {
    /// What is asked of a service whose facts were seen up to a position.
    fn request(&self, service: Service, seen: Option<&Seen>) -> ReadRequest {
        let request = ReadRequest {
            service: service.name().to_owned(),
            workspace: self.workspace.clone(),
            sweep_id: self.sweep_id.clone(),
            run_id: self.run_id.clone(),
            ..ReadRequest::default()
        };
        match (seen, self.begin) {
            (Some(seen), _) => {
                // A bare name is taken for whichever log the service has.
                let source = if seen.source.contains('@') { seen.source.clone() } else { String::new() };
                ReadRequest { source, from: seen.position, ..request }
            }
            (None, Begin::Now) => ReadRequest { from_now: true, ..request },
            (None, Begin::Since(at_us)) => ReadRequest { since_us: (at_us - CLOCKS_APART_US).max(1), ..request },
        }
    }
}

type Merged = SelectAll<futures_util::stream::BoxStream<'static, (Service, Result<Fact, tonic::Status>)>>;
type Positions = BTreeMap<&'static str, Seen>;

/// The positions that a reader has seen: Last-Event-ID, which browsers send when they reconnect, else `from`. A bare 0
/// is the beginning, of the log or of what is followed.
fn positions(request: &HttpRequest, from: &str, events: &EventsOf) -> Result<Positions, Problem> {
    let last = request.headers().get("last-event-id").and_then(|value| value.to_str().ok());
    if last.unwrap_or(from).trim() == BEGINNING {
        let all = events.services.iter().filter(|_| events.begin == Begin::Now);
        let before = |service: &Service| Seen { source: service.name().to_owned(), position: 0 };
        return Ok(all.map(|service| (service.name(), before(service))).collect());
    }
    parse_positions(last.unwrap_or(from), if last.is_some() { "Last-Event-ID" } else { "from" })
}

/// Answers with the events after the reader's positions, until it goes, its token ends or the process does.
///
/// # Errors
/// 400 for positions that cannot be read, 412 for one beyond what has happened or in a log that was made anew, 503 when
/// a service does not answer.
pub async fn follow(call: &Call, from: &str, events: EventsOf) -> Reply {
    let gateway = call.gateway();
    let mut seen = positions(&call.request, from, &events)?;
    let mut merged = Merged::new();
    for &service in events.services {
        let Some(peer) = gateway.peers().by_name(service.name()) else { continue };
        let request = events.request(service, seen.get(service.name()));
        let is_now = request.from_now;
        let mut client =
            FeedServiceClient::new(peer.clone()).max_decoding_message_size(contracts::peer::MESSAGE_BYTES_MAX);
        let answer = client.read(request).await.map_err(Refusal::from)?;
        let header = |name| answer.metadata().get(name).and_then(|value| value.to_str().ok());
        let source = header("trialog-source").unwrap_or(service.name()).to_owned();
        let head = header("trialog-head").and_then(|head| head.parse().ok());
        if let Some(seen) = seen.get_mut(service.name()) {
            seen.source.clone_from(&source);
        }
        // Whoever resumes from the first event must not lose what the other services say meanwhile.
        if let Some(position) = head.filter(|_| is_now) {
            seen.insert(service.name(), Seen { source, position });
        }
        merged.push(answer.into_inner().map(move |fact| (service, fact)).boxed());
    }
    let (sender, receiver) = mpsc::channel(BUFFERED_EVENTS);
    let (shutdown, token_end) = (gateway.shutdown().clone(), gateway.token_end(&call.principal));
    let rendered = gateway.rendered();
    actix_web::rt::spawn(async move {
        tokio::select! {
            () = pump(merged, rendered, seen, sender, PACE) => {}
            () = token_end => {}
            () = shutdown.requested() => {}
        }
    });
    let body = tokio_stream::wrappers::ReceiverStream::new(receiver).map(Ok::<_, actix_web::Error>);
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header(("cache-control", "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(body))
}

async fn pump(
    mut merged: impl Stream<Item = (Service, Result<Fact, tonic::Status>)> + Unpin,
    rendered: Arc<Rendered>,
    mut seen: Positions,
    sender: mpsc::Sender<Bytes>,
    pace: Pace,
) {
    // At once, so that the reader knows that it is connected.
    let mut next = Some(Bytes::from_static(b": connected\n\n"));
    // What is read and not sent is no sign of life: beside busy streams a quiet one gets nothing but watermarks.
    let mut quiet = tokio::time::interval(pace.heartbeat);
    loop {
        if let Some(frame) = next.take() {
            if sender.send_timeout(frame, pace.patience).await.is_err() {
                return;
            }
            quiet.reset();
        }
        let fact = tokio::select! {
            fact = merged.next() => fact,
            _ = quiet.tick() => {
                next = Some(Bytes::from_static(b": still here\n\n"));
                continue;
            }
            () = sender.closed() => return,
        };
        match fact {
            Some((service, Ok(fact))) => {
                seen.insert(service.name(), Seen { source: fact.source.clone(), position: fact.position });
                next = rendered.of(service, &fact).map(|rest| frame(&seen, &rest));
            }
            Some((service, Err(status))) => {
                tracing::warn!(service = service.name(), "events break off: {}", status.message());
                return;
            }
            None => return,
        }
    }
}

/// One event. Its id holds the positions of all services and in which log each counts, so that a reader resumes from it
/// alone, and is told when that log is gone.
fn frame(seen: &Positions, rest: &str) -> Bytes {
    let id: Vec<_> = seen.values().map(|Seen { source, position }| format!("{source}={position}")).collect();
    Bytes::from(format!("id: {}\n{rest}", id.join(",")))
}

#[cfg(test)]
mod tests {
    use contracts::sweeps::SweepStateChanged;
    use prost::Message;
    use serde_json::{Value, json};

    use super::*;

    fn fact(position: i64) -> (Service, Result<Fact, tonic::Status>) {
        let message = SweepStateChanged {
            workspace: "lab".into(),
            sweep_id: "s1".into(),
            state: "Running".into(),
            ..Default::default()
        };
        let (r#type, payload) = ("SweepStateChanged".to_owned(), message.encode_to_vec());
        let (source, stream) = ("sweeps@1".into(), "sweep-1".into());
        (Service::Sweeps, Ok(Fact { source, position, r#type, payload, stream, ..Fact::default() }))
    }

    fn at(source: &str, position: i64) -> Seen {
        Seen { source: source.to_owned(), position }
    }

    #[tokio::test]
    async fn events_are_framed_and_resumable_also_past_what_is_not_shown() {
        let (sender, mut receiver) = mpsc::channel(8);
        let silent = Fact { source: "runs@2".into(), position: 6, watermark: true, ..Fact::default() };
        let facts = vec![fact(4), (Service::Runs, Ok(silent)), fact(7)];
        let seen = BTreeMap::from([("runs", at("runs@2", 5))]);
        pump(futures_util::stream::iter(facts), Arc::default(), seen, sender, PACE).await;
        let mut frames = Vec::new();
        while let Some(frame) = receiver.recv().await {
            frames.push(String::from_utf8(frame.to_vec()).unwrap());
        }
        assert_eq!(frames.len(), 3, "{frames:?}");
        assert!(frames[1].starts_with("id: runs@2=5,sweeps@1=4\nevent: SweepStateChanged\ndata: {"), "{}", frames[1]);
        assert!(frames[2].starts_with("id: runs@2=6,sweeps@1=7\n") && frames[2].ends_with("}\n\n"));
        let data: Value =
            serde_json::from_str(frames[2].lines().nth(2).unwrap().strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!((&data["position"], &data["data"]["state"]), (&json!(7), &json!("Running")));
        assert_eq!(data["time"], "1970-01-01T00:00:00.000000Z");
    }

    #[tokio::test]
    async fn a_slow_reader_is_cut_off() {
        // Memory is bounded by the reader's own pace, never by how much happens.
        let (sender, _receiver) = mpsc::channel(1);
        let facts = futures_util::stream::repeat_with(|| fact(1));
        pump(facts, Arc::default(), BTreeMap::new(), sender, Pace { patience: Duration::from_millis(5), ..PACE }).await;
    }

    #[tokio::test]
    async fn a_quiet_stream_beside_busy_ones_still_shows_signs_of_life() {
        // Every event of others is a watermark here. Proxies cut what sends no byte for a minute.
        let (sender, mut receiver) = mpsc::channel(8);
        let watermarks = futures_util::stream::unfold(1, |position| async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let watermark = Fact { position, watermark: true, ..Fact::default() };
            Some(((Service::Sweeps, Ok(watermark)), position + 1))
        });
        let pace = Pace { heartbeat: Duration::from_millis(50), ..PACE };
        tokio::spawn(pump(Box::pin(watermarks), Arc::default(), BTreeMap::new(), sender, pace));
        let beats = async {
            assert_eq!(receiver.recv().await.unwrap(), ": connected\n\n");
            assert_eq!(receiver.recv().await.unwrap(), ": still here\n\n");
        };
        tokio::time::timeout(Duration::from_secs(20), beats).await.expect("a heartbeat");
    }

    #[test]
    fn zero_is_the_beginning_of_whatever_is_followed() {
        // It is what the help says, and nobody knows the names of all services.
        let request = actix_web::test::TestRequest::default().to_http_request();
        let with = |begin| {
            let services = &[Service::Runs, Service::Sweeps];
            let (workspace, none) = ("lab".to_owned(), String::new());
            let events = EventsOf { services, workspace, sweep_id: none.clone(), run_id: none, begin };
            positions(&request, "0", &events).unwrap()
        };
        assert_eq!(with(Begin::Now), BTreeMap::from([("runs", at("runs", 0)), ("sweeps", at("sweeps", 0))]));
        assert_eq!(with(Begin::Since(5)), BTreeMap::new());
    }

    #[test]
    fn a_reader_begins_where_it_was_else_where_the_stream_begins() {
        let events = |begin| EventsOf {
            services: &[Service::Sweeps],
            workspace: "lab".into(),
            sweep_id: "s1".into(),
            run_id: String::new(),
            begin,
        };
        let begins = |begin, seen: Option<Seen>| {
            let request = events(begin).request(Service::Sweeps, seen.as_ref());
            assert!(request.source.is_empty() || seen.is_some_and(|seen| seen.source == request.source));
            assert_eq!((request.workspace.as_str(), request.sweep_id.as_str()), ("lab", "s1"));
            (request.from, request.from_now, request.since_us)
        };
        assert_eq!(begins(Begin::Now, None), (0, true, 0));
        assert_eq!(begins(Begin::Now, Some(at("sweeps@1", 7))), (7, false, 0));
        assert_eq!(
            begins(Begin::Now, Some(at("sweeps", 0))),
            (0, false, 0),
            "from the beginning, when that is asked for"
        );
        assert_eq!(begins(Begin::Since(90_000_000), None), (0, false, 30_000_000));
        assert_eq!(begins(Begin::Since(5), None), (0, false, 1));
    }
}
