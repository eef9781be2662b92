//! Serves `FeedService` from the logs of the services in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use contracts::feed::feed_service_server::FeedService;
use contracts::feed::{Fact, ReadRequest};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};
use uuid::Uuid;
use vocabulary::Problem;

use super::facts::OpenError;
use super::published::Source;
use super::tail::{Begin, Filter};

/// The header of an answer that names the source, `service@incarnation`.
pub(super) const SOURCE_HEADER: &str = "trialog-source";
/// The header of an answer with the position of the source's last event when the answer began.
pub(super) const HEAD_HEADER: &str = "trialog-head";

/// All feeds of this process. Clones share them.
#[derive(Clone, Default)]
pub struct FeedServer {
    sources: Arc<RwLock<BTreeMap<&'static str, Source>>>,
}

impl FeedServer {
    /// A server without feeds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service's feed.
    pub fn add(&self, service: &'static str, source: Source) {
        self.sources.write().unwrap_or_else(PoisonError::into_inner).insert(service, source);
    }

    /// The feed of a service, when it runs here.
    pub fn of(&self, service: &str) -> Option<Source> {
        self.sources.read().unwrap_or_else(PoisonError::into_inner).get(service).cloned()
    }

    fn absent(&self, service: &str) -> Problem {
        let here: Vec<_> = self.sources.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        Problem::new(404, "NotFound", format!("no feed of '{service}' here; here are: {}", here.join(", ")))
    }
}

#[tonic::async_trait]
impl FeedService for FeedServer {
    type ReadStream = BoxStream<'static, Result<Fact, Status>>;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        let source = self.of(&request.service).ok_or_else(|| contracts::status_of(&self.absent(&request.service)))?;
        let name = source.log().source().to_owned();
        if !request.source.is_empty() && request.source != name {
            let error = OpenError::OtherIncarnation { known: request.source, met: name };
            return Err(contracts::status_of(&problem(&error)));
        }
        let begin = match (request.from_now, request.since_us) {
            (true, _) => Begin::Now,
            (false, 0) => Begin::After(request.from),
            (false, since_us) => Begin::Since(since_us),
        };
        if request.from != 0 && begin != Begin::After(request.from) {
            let detail = "from_now and since_us say where to begin: leave 'from' out";
            return Err(contracts::status_of(&Problem::invalid("/from", "Contradiction", detail)));
        }
        let from = source.begin(begin).await.map_err(|error| contracts::status_of(&problem(&error)))?;
        let seen = read_event_id(&request.from_event_id).map_err(|problem| contracts::status_of(&problem))?;
        source.assert_same(from, seen).await.map_err(|error| contracts::status_of(&problem(&error)))?;
        let head = *source.log().head().borrow();
        let ReadRequest { workspace, stream, sweep_id, run_id, until_head, .. } = request;
        let facts = source.facts(from, Filter { workspace, stream, sweep_id, run_id }, until_head);
        let facts = facts.map(|fact| match fact {
            // The payload is encoded once and copied for each reader; a frame is each reader's own.
            Ok(fact) => Ok(Arc::unwrap_or_clone(fact)),
            Err(broken) => Err(Status::data_loss(broken)),
        });
        let mut answer = Response::new(facts.boxed());
        if let Ok(value) = MetadataValue::try_from(&name) {
            answer.metadata_mut().insert(SOURCE_HEADER, value);
        }
        answer.metadata_mut().insert(HEAD_HEADER, MetadataValue::from(head));
        Ok(answer)
    }
}

/// The event that a reader has seen last, where it says so: one that cannot be read is no reason to believe it.
fn read_event_id(text: &str) -> Result<Option<Uuid>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || format!("'{text}': the id of the last event that was read, as its fact has it, or nothing");
    Uuid::try_parse(text).map(Some).map_err(|_| Problem::invalid("/from_event_id", "BadEventId", wrong()))
}

/// Why a source cannot be read, as callers see it.
fn problem(error: &OpenError) -> Problem {
    match error {
        OpenError::OtherIncarnation { known, met } => {
            let service = met.split('@').next().unwrap_or_default();
            let detail = format!(
                "the log was made anew: positions of {known} mean nothing in {met}. Begin again without one, or with \
                 {service}=0 for its beginning"
            );
            Problem::new(412, "OtherIncarnation", detail).with("known", known.clone()).with(SOURCE_HEADER, met.clone())
        }
        OpenError::BeyondHead { source_name, from, head } => {
            let service = source_name.split('@').next().unwrap_or_default();
            let detail = format!(
                "{service}={from} is beyond the head of {source_name}, which is {head}: begin at {head} or before, or \
                 without a position"
            );
            Problem::new(412, "BeyondHead", detail)
                .with(SOURCE_HEADER, source_name.clone())
                .with("from", *from)
                .with(HEAD_HEADER, *head)
        }
        OpenError::OtherHistory { source_name, from } => {
            let detail = format!(
                "another event than before is at position {from} of {source_name}: the log was set back and has grown \
                 again. Begin again without a position"
            );
            Problem::new(412, "OtherHistory", detail).with(SOURCE_HEADER, source_name.clone()).with("from", *from)
        }
        // Of a log nothing expires.
        OpenError::Expired { .. } => Problem::unavailable("LogUnavailable", error.to_string(), 1),
        OpenError::Away(text) => Problem::unavailable("LogUnavailable", text.clone(), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_cannot_be_read_is_refused_and_none_is_none() {
        assert_eq!(read_event_id("").unwrap(), None);
        let id = "0f0e0d0c-0b0a-0908-0706-050403020100";
        assert_eq!(read_event_id(id).unwrap().map(|id| id.to_string()).as_deref(), Some(id));
        let refused = read_event_id("event 7").unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (422, "BadEventId"));
        assert!(refused.detail.contains("event 7"), "{}", refused.detail);
    }
}
