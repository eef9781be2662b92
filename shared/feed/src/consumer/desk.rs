//! Answers operators about the followers of this process: what is parked, and what settles it.

use std::time::Duration;

use contracts::CallContext;
use contracts::feed as wire;
use contracts::feed::consumer_service_server::ConsumerService;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};
use vocabulary::Problem;

use super::entry::{self, Consumers, Entry, Settled, State, Verb};
use super::parked::{self, Actor, Key, Parked};
use crate::source::{Cursor, OpenError};

/// Entries of a page when the caller names no number, and the most that it may name.
const PAGE_SIZE_DEFAULT: i32 = 100;
const PAGE_SIZE_MAX: i32 = 1000;
/// Bytes of a page's facts: a message may have twice as many. A fact that is larger comes alone.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// How long an answer waits for a follower: what does not go through is tried a few times first.
const PATIENCE: Duration = Duration::from_secs(15);

/// The service of a process's followers.
#[derive(Clone)]
pub struct Desk {
    consumers: Consumers,
}

impl Desk {
    /// Answers for `consumers`.
    pub fn new(consumers: Consumers) -> Self {
        Self { consumers }
    }

    async fn settle(&self, request: Request<wire::SettleRequest>, verb: Verb) -> Result<wire::SettleReply, Problem> {
        let by = actor(&request);
        let wire::SettleRequest { consumer, source, partition, position, .. } = request.into_inner();
        let entry = self.consumers.get(&consumer).ok_or_else(|| absent("consumer", &consumer))?;
        let (reply, answer) = oneshot::channel();
        let key = Key { source, partition, position };
        let shown = format!("{} of {}", key.position, key.source);
        let asked = entry.requests.try_send(entry::Request { key, verb, by, reply });
        let busy = || Problem::unavailable("FollowerBusy", format!("{consumer} does not answer now; try again"), 1);
        asked.map_err(|_| busy())?;
        let settled = tokio::time::timeout(PATIENCE, answer).await.map_err(|_| busy())?.map_err(|_| busy())?;
        let (outcome, error) = match settled {
            Settled::Done => ("done", String::new()),
            Settled::Skipped => ("skipped", String::new()),
            Settled::Parked(error) => ("parked", error),
            Settled::Absent => return Err(absent("parked fact", &shown)),
        };
        let left = entry.park().count().await.map_err(|error| error.problem())?;
        Ok(wire::SettleReply { outcome: outcome.to_owned(), error, left })
    }

    async fn adopt(&self, request: Request<wire::AdoptRequest>) -> Result<wire::AdoptReply, Problem> {
        let by = actor(&request);
        let wire::AdoptRequest { service, source, from } = request.into_inner();
        let Some((follows, incarnation)) = source.split_once('@').filter(|(_, incarnation)| !incarnation.is_empty())
        else {
            let detail = format!("'{source}': send SERVICE@INCARNATION, as the halted consumer names it");
            return Err(Problem::invalid("/source", "BadSource", detail));
        };
        if from < 0 {
            return Err(Problem::invalid("/from", "OutOfRange", format!("{from}: a position from 0 on")));
        }
        // The relay of a service takes care of itself.
        let followers = self.consumers.of(&service).into_iter().filter(|entry| entry.follows != entry.service);
        let (mut consumers, mut refused) = (Vec::new(), Vec::new());
        for entry in followers.filter(|entry| entry.follows == follows) {
            if !adopt_in(&entry, &Cursor::at(source.clone(), from), &by).await? {
                refused.push(entry.consumer());
                continue;
            }
            tracing::warn!(consumer = entry.consumer(), incarnation, from, actor = by.name, "adopts another source");
            consumers.push(entry.shown().await.map_err(|error| error.problem())?);
        }
        if consumers.is_empty() && !refused.is_empty() {
            let detail = format!(
                "no consumer of {follows} is halted at its source, so {} would undo it: adopt when one names a source \
                 to adopt in `trialog feed`; one that halts since too much is parked needs that settled",
                refused.join(", ")
            );
            return Err(Problem::conflict("NotHalted", detail));
        }
        Ok(wire::AdoptReply { consumers })
    }

    async fn list(&self, request: wire::ListParkedRequest) -> Result<wire::ListParkedReply, Problem> {
        let size = if request.page_size == 0 { PAGE_SIZE_DEFAULT } else { request.page_size };
        if !(1..=PAGE_SIZE_MAX).contains(&size) {
            let message = format!("page_size {size} must be in 1..={PAGE_SIZE_MAX}");
            return Err(Problem::invalid("/page_size", "OutOfRange", message));
        }
        let entries = self.consumers.of(&request.service);
        let Some(entry) = entries.first() else { return Ok(wire::ListParkedReply::default()) };
        let after = read_token(&request.page_token)?;
        let prefix = format!("{}.", request.service);
        let projection = request.consumer.strip_prefix(&prefix).unwrap_or(&request.consumer);
        let after = (after.0.as_str(), after.1.as_str(), after.2);
        let most = (usize::try_from(size).unwrap_or_default(), PAGE_BYTES_MAX);
        let (rows, more) = parked::page(&entry.log, projection, after, most).await.map_err(|error| error.problem())?;
        let last = rows.last().filter(|_| more);
        let next_page_token = last.map(|(place, row)| token(*place, row)).unwrap_or_default();
        let parked = rows.into_iter().map(|(_, row)| shown(&request.service, row)).collect();
        Ok(wire::ListParkedReply { parked, next_page_token })
    }
}

/// Lets a follower go on from a cursor; false, and nothing is changed, unless it is halted at its source: one that
/// follows stores its own cursors over it.
async fn adopt_in(entry: &Entry, cursor: &Cursor, by: &Actor) -> Result<bool, Problem> {
    let _alone = entry.cursors.lock().await;
    if !matches!(entry.standing().state, State::Halted(_)) {
        return Ok(false);
    }
    assert_there(entry, cursor).await?;
    entry.park().follow_from(cursor, "adopt", by).await.map_err(|error| error.problem())?;
    entry.stand(|standing| (standing.source, standing.position) = (cursor.source.clone(), cursor.reached()));
    entry.adopted.notify_one();
    Ok(true)
}

/// Refuses a cursor that the source is not at: its facts would be skipped, or the follower would halt again at once.
async fn assert_there(entry: &Entry, cursor: &Cursor) -> Result<(), Problem> {
    let opened = tokio::time::timeout(PATIENCE, entry.source.open(cursor)).await;
    let away = |why: &str| {
        let detail = format!("{} cannot be asked what it is at: {why}; try again when it is there", entry.follows);
        Err(Problem::unavailable("SourceAway", detail, 1))
    };
    match opened {
        Err(_) => away("it does not answer"),
        Ok(Ok(opened)) if opened.source == cursor.source => Ok(()),
        Ok(Ok(opened)) => Err(other_incarnation(&cursor.source, &opened.source)),
        Ok(Err(OpenError::OtherIncarnation { known, met })) => Err(other_incarnation(&known, &met)),
        Ok(Err(OpenError::BeyondHead { source_name, from, head })) => {
            let detail = format!(
                "{from} is beyond the head of {source_name}, which is {head}: `trialog feed adopt {source_name} --from \
                 POSITION` takes a position in 0..={head}"
            );
            Err(Problem::new(412, "BeyondHead", detail).with("head", head))
        }
        // What is adopted is a position alone, with no event that another one could stand in the place of.
        Ok(Err(error @ (OpenError::Away(_) | OpenError::Expired { .. } | OpenError::OtherHistory { .. }))) => {
            away(&error.to_string())
        }
    }
}

fn other_incarnation(asked: &str, is: &str) -> Problem {
    let detail = format!("the log is {is}, there is no {asked}: `trialog feed adopt {is}` follows what is there");
    Problem::new(412, "OtherIncarnation", detail).with("source", is.to_owned())
}

fn shown(service: &str, row: Parked) -> wire::ParkedFact {
    let (cause, error) = row.why.map_or(("", String::new()), |(cause, error)| (cause.name(), error));
    wire::ParkedFact {
        consumer: format!("{service}.{}", row.projection),
        lane: row.lane,
        error,
        cause: cause.to_owned(),
        parked_at_us: row.parked_at_us,
        fact: Some(std::sync::Arc::unwrap_or_clone(row.fact)),
    }
}

/// The place of a row, which lanes and names cannot be mistaken in.
fn token(place: i64, row: &Parked) -> String {
    serde_json::json!([row.projection, row.lane, place]).to_string()
}

fn read_token(token: &str) -> Result<(String, String, i64), Problem> {
    if token.is_empty() {
        return Ok((String::new(), String::new(), 0));
    }
    let bad = || Problem::invalid("/page_token", "BadToken", "send the next_page_token of the page before");
    serde_json::from_str(token).map_err(|_| bad())
}

fn absent(what: &str, name: &str) -> Problem {
    Problem::new(404, "NotFound", format!("{what} '{name}'"))
}

fn actor<T>(request: &Request<T>) -> Actor {
    let context = CallContext::of(request);
    Actor { name: context.actor, request_id: context.request_id }
}

fn answer<T>(outcome: Result<T, Problem>) -> Result<Response<T>, Status> {
    outcome.map(Response::new).map_err(|problem| contracts::status_of(&problem))
}

#[tonic::async_trait]
impl ConsumerService for Desk {
    async fn list_consumers(
        &self,
        request: Request<wire::ListConsumersRequest>,
    ) -> Result<Response<wire::ListConsumersReply>, Status> {
        let mut consumers = Vec::new();
        for entry in self.consumers.of(&request.into_inner().service) {
            consumers.push(entry.shown().await.map_err(|error| contracts::status_of(&error.problem()))?);
        }
        Ok(Response::new(wire::ListConsumersReply { consumers }))
    }

    async fn list_parked(
        &self,
        request: Request<wire::ListParkedRequest>,
    ) -> Result<Response<wire::ListParkedReply>, Status> {
        answer(self.list(request.into_inner()).await)
    }

    async fn retry_parked(&self, request: Request<wire::SettleRequest>) -> Result<Response<wire::SettleReply>, Status> {
        answer(self.settle(request, Verb::Retry).await)
    }

    async fn skip_parked(&self, request: Request<wire::SettleRequest>) -> Result<Response<wire::SettleReply>, Status> {
        answer(self.settle(request, Verb::Skip).await)
    }

    async fn adopt_source(&self, request: Request<wire::AdoptRequest>) -> Result<Response<wire::AdoptReply>, Status> {
        answer(self.adopt(request).await)
    }
}
