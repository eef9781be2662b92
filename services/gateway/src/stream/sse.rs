//! Server-sent events: the facts of one or several services, merged as they come, resumable by position.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use contracts::feed::feed_service_client::FeedServiceClient;
use contracts::feed::{Fact, ReadRequest};
use futures_util::stream::{SelectAll, Stream, StreamExt};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use vocabulary::Problem;

use super::readable;
use crate::door::{Call, Refusal, Reply, Service, parse_positions};

/// A comment goes out after so much silence, so that proxies keep the connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Events that wait for a slow reader.
const BUFFERED_EVENTS: usize = 256;
/// How long a full buffer is borne; then the reader is cut off and may resume from its last id.
const SLOW_READER: Duration = Duration::from_secs(20);

/// Which events a reader wants.
#[derive(Clone, Debug)]
pub struct EventsOf {
    /// The services that are read.
    pub services: &'static [Service],
    /// Only this workspace.
    pub workspace: String,
    /// A member that must have this value, e.g. `sweep_id`.
    pub only: Option<(&'static str, String)>,
}

impl EventsOf {
    fn wants(&self, data: &Value) -> bool {
        let same = |member: &str, value: &str| data[member].as_str() == Some(value);
        same("workspace", &self.workspace) && self.only.as_ref().is_none_or(|(member, value)| same(member, value))
    }
}

type Merged = SelectAll<futures_util::stream::BoxStream<'static, (Service, Result<Fact, tonic::Status>)>>;

/// The positions that a reader has seen: Last-Event-ID, which browsers send when they reconnect, else `from`.
fn positions(request: &HttpRequest, from: &str) -> Result<BTreeMap<&'static str, i64>, Problem> {
    let last = request.headers().get("last-event-id").and_then(|value| value.to_str().ok());
    parse_positions(last.unwrap_or(from), if last.is_some() { "Last-Event-ID" } else { "from" })
}

/// Answers with the events after the reader's positions, until it goes, its token ends or the process does.
///
/// # Errors
/// 400 for positions that cannot be read, 412 for one beyond the end, 503 when a service does not answer.
pub async fn follow(call: &Call, from: &str, events: EventsOf) -> Reply {
    let gateway = call.gateway();
    let seen = positions(&call.request, from)?;
    let mut merged = Merged::new();
    for &service in events.services {
        let Some(peer) = gateway.peers().by_name(service.name()) else { continue };
        let from = seen.get(service.name()).copied().unwrap_or_default();
        let request = ReadRequest { service: service.name().to_owned(), from, ..ReadRequest::default() };
        let mut client =
            FeedServiceClient::new(peer.clone()).max_decoding_message_size(contracts::peer::MESSAGE_BYTES_MAX);
        let facts = client.read(request).await.map_err(Refusal::from)?.into_inner();
        merged.push(facts.map(move |fact| (service, fact)).boxed());
    }
    let (sender, receiver) = mpsc::channel(BUFFERED_EVENTS);
    let (shutdown, token_end) = (gateway.shutdown().clone(), gateway.token_end(&call.principal));
    actix_web::rt::spawn(async move {
        tokio::select! {
            () = pump(merged, events, seen, sender, SLOW_READER) => {}
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
    events: EventsOf,
    mut seen: BTreeMap<&'static str, i64>,
    sender: mpsc::Sender<Bytes>,
    patience: Duration,
) {
    // At once, so that the reader knows that it is connected.
    let mut next = Some(Bytes::from_static(b": connected\n\n"));
    loop {
        if let Some(frame) = next.take()
            && sender.send_timeout(frame, patience).await.is_err()
        {
            return;
        }
        let fact = tokio::select! {
            fact = tokio::time::timeout(HEARTBEAT, merged.next()) => fact,
            () = sender.closed() => return,
        };
        match fact {
            Err(_) => next = Some(Bytes::from_static(b": still here\n\n")),
            Ok(Some((service, Ok(fact)))) => {
                seen.insert(service.name(), fact.position);
                let data = readable(service, &fact).filter(|data| events.wants(data));
                next = data.map(|data| frame(&fact, data, &seen));
            }
            Ok(Some((service, Err(status)))) => {
                tracing::warn!(service = service.name(), "events break off: {}", status.message());
                return;
            }
            Ok(None) => return,
        }
    }
}

/// One event. Its id holds the positions of all services, so that a reader resumes from it alone.
fn frame(fact: &Fact, data: Value, seen: &BTreeMap<&'static str, i64>) -> Bytes {
    let id: Vec<_> = seen.iter().map(|(service, position)| format!("{service}={position}")).collect();
    let time = Timestamp::from_microsecond(fact.recorded_at_us).unwrap_or_default();
    let body = json!({
        "position": fact.position,
        "type": fact.r#type,
        "stream": fact.stream,
        "time": format!("{time:.6}"),
        "data": data,
    });
    Bytes::from(format!("id: {}\nevent: {}\ndata: {body}\n\n", id.join(","), fact.r#type))
}

#[cfg(test)]
mod tests {
    use contracts::sweeps::SweepStateChanged;
    use prost::Message;

    use super::*;

    fn fact(position: i64, workspace: &str, sweep_id: &str) -> (Service, Result<Fact, tonic::Status>) {
        let message = SweepStateChanged {
            workspace: workspace.into(),
            sweep_id: sweep_id.into(),
            state: "Running".into(),
            ..Default::default()
        };
        let (r#type, payload) = ("SweepStateChanged".to_owned(), message.encode_to_vec());
        (Service::Sweeps, Ok(Fact { position, r#type, payload, stream: "sweep-1".into(), ..Fact::default() }))
    }

    #[tokio::test]
    async fn events_are_framed_filtered_and_resumable() {
        let (sender, mut receiver) = mpsc::channel(8);
        let facts = vec![fact(4, "lab", "s1"), fact(5, "other", "s1"), fact(6, "lab", "s2"), fact(7, "lab", "s1")];
        let events =
            EventsOf { services: &[Service::Sweeps], workspace: "lab".into(), only: Some(("sweep_id", "s1".into())) };
        let seen = BTreeMap::from([("runs", 9)]);
        pump(futures_util::stream::iter(facts), events, seen, sender, SLOW_READER).await;
        let mut frames = Vec::new();
        while let Some(frame) = receiver.recv().await {
            frames.push(String::from_utf8(frame.to_vec()).unwrap());
        }
        assert_eq!(frames.len(), 3, "{frames:?}");
        assert!(frames[1].starts_with("id: runs=9,sweeps=4\nevent: SweepStateChanged\ndata: {"), "{}", frames[1]);
        assert!(frames[2].starts_with("id: runs=9,sweeps=7\n") && frames[2].ends_with("}\n\n"));
        let data: Value =
            serde_json::from_str(frames[2].lines().nth(2).unwrap().strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!((&data["position"], &data["data"]["state"]), (&json!(7), &json!("Running")));
        assert_eq!(data["time"], "1970-01-01T00:00:00.000000Z");
    }

    #[tokio::test]
    async fn a_slow_reader_is_cut_off() {
        // Memory is bounded by the reader's own pace, never by how much happens.
        let (sender, _receiver) = mpsc::channel(1);
        let facts = futures_util::stream::repeat_with(|| fact(1, "lab", "s1"));
        let events = EventsOf { services: &[Service::Sweeps], workspace: "lab".into(), only: None };
        pump(facts, events, BTreeMap::new(), sender, Duration::from_millis(5)).await;
    }
}
