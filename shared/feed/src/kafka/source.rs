//! A service's facts, read from its topic.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use runtime::{Backoff, Stopwatch};

use super::Kafka;
use super::ends::{self, End, Plan};
use super::place::{self, Find};
use super::reading::Reading;
use super::seen::Seen;
use crate::source::{Cursor, FactSource, Facts, OpenError, Opened};

/// How long a topic may be absent or empty before that is said: its relay may be starting right now.
const ABSENT: Duration = Duration::from_secs(10);
/// How long a topic may say something else than the cursor before that is said: a relay that begins says at once what
/// it is of.
const REFUSED: Duration = Duration::from_secs(2);
/// How long no record may come while a place is looked for.
const SILENCE: Duration = Duration::from_secs(10);
/// Waits between looks for a topic: nobody tells when there is one.
const LOOK_MIN: Duration = Duration::from_millis(20);
const LOOK_MAX: Duration = Duration::from_millis(200);

/// What a reading came upon, with the cursor that was asked for: the next opening says it.
type Found = Arc<Mutex<Option<(Cursor, OpenError)>>>;

/// The topic of one service.
#[derive(Debug)]
pub struct Topic {
    kafka: Kafka,
    topic: String,
    found: Found,
}

impl Topic {
    /// The topic of `service`.
    pub fn new(kafka: Kafka, service: &str) -> Self {
        let topic = kafka.topic(service);
        Self { kafka, topic, found: Found::default() }
    }

    /// What the topic's ends say of a cursor, when that has settled: what refuses it is looked at again for a moment.
    async fn settled(&self, cursor: &Cursor) -> Result<(Plan, Vec<End>), OpenError> {
        let (watch, mut backoff) = (Stopwatch::start(), Backoff::new(LOOK_MIN, LOOK_MAX));
        loop {
            let (ends, mut after) = Reading::ends(&self.kafka, &self.topic).await.map_err(OpenError::Away)?;
            let refused = match ends::plan(cursor, &ends) {
                Ok(plan) => return Ok((plan, ends)),
                Err(refused) => refused,
            };
            let patience = if matches!(refused, OpenError::Away(_)) { ABSENT } else { REFUSED };
            let Some(left) = patience.checked_sub(watch.elapsed()).filter(|left| !left.is_zero()) else {
                return Err(refused);
            };
            if ends.is_empty() {
                backoff.wait().await;
                continue;
            }
            match tokio::time::timeout(left, after.next()).await {
                // Whatever comes changes the ends.
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(OpenError::Away(error)),
                Err(_) => return Err(refused),
            }
        }
    }

    /// Where each partition is read from.
    async fn places(&self, plan: &Plan, ends: &[End]) -> Result<BTreeMap<i32, i64>, OpenError> {
        let (mut places, mut hints, mut through) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (partition, end) in (0..).zip(ends) {
            let position = plan.cursor.position(partition + 1);
            let resume = plan.cursor.resumes.get(&(partition + 1)).copied().unwrap_or_default();
            match place::find(position, resume, end, plan.head) {
                Find::At(offset) => drop(places.insert(partition, offset)),
                Find::Behind(offset) => drop(hints.insert(partition, offset)),
                Find::Through => drop(through.insert(partition, end.low)),
                Find::Expired => return Err(expired(plan, position)),
            }
        }
        // The last records are here already.
        let mut known: BTreeMap<_, _> =
            ends.iter().filter_map(|end| end.last.clone()).map(|r| (r.partition, r)).collect();
        known.retain(|partition, record| hints.get(partition) == Some(&record.offset));
        let asked = hints.iter().filter(|(partition, _)| !known.contains_key(partition));
        let asked = asked.map(|(partition, offset)| (*partition, *offset)).collect();
        known.extend(Reading::at(&self.kafka, &self.topic, asked).await.map_err(OpenError::Away)?);
        for (partition, record) in known {
            let (position, event) =
                (plan.cursor.position(partition + 1), plan.cursor.events.get(&(partition + 1)).copied());
            if place::is_at(&record, &plan.source, position, event) {
                places.insert(partition, record.offset + 1);
            } else {
                through.insert(
                    partition,
                    usize::try_from(partition).ok().and_then(|at| ends.get(at)).map_or(0, |e| e.low),
                );
            }
        }
        self.look_through(plan, ends, through, &mut places).await?;
        Ok(places)
    }

    /// Looks partitions through up to the first fact that is new.
    async fn look_through(
        &self,
        plan: &Plan,
        ends: &[End],
        mut left: BTreeMap<i32, i64>,
        places: &mut BTreeMap<i32, i64>,
    ) -> Result<(), OpenError> {
        if left.is_empty() {
            return Ok(());
        }
        tracing::info!(source = plan.source, partitions = left.len(), "looks for its place in the topic");
        let (mut seen, firsts) = (Seen::new(plan), left.clone());
        let mut reading = Reading::from(&self.kafka, &self.topic, left.clone()).map_err(OpenError::Away)?;
        while !left.is_empty() {
            let record = tokio::time::timeout(SILENCE, reading.next()).await;
            let record = record.map_err(|_| OpenError::Away("the brokers send nothing".to_owned()))?;
            let record = record.map_err(OpenError::Away)?;
            let (partition, offset) = (record.partition, record.offset);
            let end = usize::try_from(partition).ok().and_then(|at| ends.get(at));
            let Some(end) = end.filter(|_| left.contains_key(&partition)) else { continue };
            let position = plan.cursor.position(partition + 1);
            if firsts.get(&partition) == Some(&offset) && place::has_expired(&record, end, &plan.source, position) {
                return Err(expired(plan, position));
            }
            let is_new = seen.take(record)?.is_some();
            if is_new || offset + 1 >= end.high {
                left.remove(&partition);
                places.insert(partition, if is_new { offset } else { offset + 1 });
            }
        }
        Ok(())
    }
}

impl FactSource for Topic {
    fn open<'a>(&'a self, cursor: &'a Cursor) -> BoxFuture<'a, Result<Opened, OpenError>> {
        Box::pin(async move {
            let found = self.found.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some((_, error)) = found.filter(|(at, _)| at.source == cursor.source) {
                return Err(error);
            }
            let (plan, ends) = self.settled(cursor).await?;
            let places = self.places(&plan, &ends).await?;
            let reading = Reading::from(&self.kafka, &self.topic, places).map_err(OpenError::Away)?;
            let (seen, found) = (Seen::new(&plan), Arc::clone(&self.found));
            let Plan { source, last, cursor, .. } = plan;
            let at = Cursor { source: source.clone(), ..Cursor::default() };
            Ok(Opened { source, head: Some(last), from: cursor.positions, facts: facts(reading, seen, at, found) })
        })
    }
}

/// The new facts of what is assigned.
fn facts(reading: Reading, seen: Seen, at: Cursor, found: Found) -> Facts {
    let state = Some((reading, seen));
    let facts = stream::unfold(state, move |state| {
        let (at, found) = (at.clone(), Arc::clone(&found));
        async move {
            let (mut reading, mut seen) = state?;
            loop {
                match reading.next().await.map(|record| seen.take(record)) {
                    Ok(Ok(Some(fact))) => return Some((Ok(fact), Some((reading, seen)))),
                    Ok(Ok(None)) => {}
                    Ok(Err(error)) => {
                        let text = error.to_string();
                        *found.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, error));
                        return Some((Err(text), None));
                    }
                    Err(error) => return Some((Err(error), None)),
                }
            }
        }
    });
    facts.boxed()
}

fn expired(plan: &Plan, from: i64) -> OpenError {
    OpenError::Expired { source_name: plan.source.clone(), from }
}
