//! What is asked of Kafka about one topic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Headers;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::Kafka;
use super::client::Quiet;
use super::ends::End;
use super::record::{self, Record};

/// How long the brokers may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A client that reads one topic, from places that it is given once: librdkafka 2.12 aborts the process when a second
/// assignment comes, or the end, before the first one has stopped (confluentinc/librdkafka#5573).
pub(super) struct Reading {
    consumer: Option<Arc<StreamConsumer<Quiet>>>,
    topic: String,
    /// By partition: the next offset that is expected.
    next: BTreeMap<i32, i64>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        // It waits for its threads.
        let consumer = self.consumer.take();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(consumer))),
            Err(_) => drop(consumer),
        }
    }
}

impl Reading {
    fn client(kafka: &Kafka, topic: &str) -> Result<Self, String> {
        let consumer =
            kafka.consumer(topic).create_with_context(Quiet::default()).map_err(|error| error.to_string())?;
        Ok(Self { consumer: Some(Arc::new(consumer)), topic: topic.to_owned(), next: BTreeMap::new() })
    }

    /// Reads these partitions, from these offsets on.
    ///
    /// # Errors
    /// When the client refuses it.
    pub fn from(kafka: &Kafka, topic: &str, offsets: BTreeMap<i32, i64>) -> Result<Self, String> {
        Self::client(kafka, topic)?.assigned(offsets)
    }

    fn assigned(mut self, offsets: BTreeMap<i32, i64>) -> Result<Self, String> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in &offsets {
            let added = list.add_partition_offset(&self.topic, *partition, Offset::Offset(*offset));
            added.map_err(|error| error.to_string())?;
        }
        self.consumer()?.assign(&list).map_err(|error| error.to_string())?;
        self.next = offsets;
        Ok(self)
    }

    fn consumer(&self) -> Result<&Arc<StreamConsumer<Quiet>>, String> {
        // It is there until the drop.
        self.consumer.as_ref().ok_or_else(|| "closed".to_owned())
    }

    /// The ends of each partition, and what comes after them; none for a topic that is not there.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub async fn ends(kafka: &Kafka, topic: &str) -> Result<(Vec<End>, Self), String> {
        let client = Self::client(kafka, topic)?;
        let (consumer, name) = (Arc::clone(client.consumer()?), topic.to_owned());
        let asked = tokio::task::spawn_blocking(move || bounds(&consumer, &name)).await;
        let bounds = asked.map_err(|error| error.to_string())??;
        if bounds.is_empty() {
            return Ok((Vec::new(), client));
        }
        let last = (0..).zip(bounds.iter().map(|(low, high)| (high - 1).max(*low))).collect();
        let mut reading = client.assigned(last)?;
        let mut records = BTreeMap::new();
        while records.len() < bounds.iter().filter(|(low, high)| low < high).count() {
            let mut record = reading.soon().await?;
            record.fact.payload = Vec::new();
            records.entry(record.partition).or_insert(record);
        }
        let end = |(partition, (low, high))| End { low, high, last: records.remove(&partition) };
        Ok(((0..).zip(bounds).map(end).collect(), reading))
    }

    /// The records at one offset of each of these partitions.
    ///
    /// # Errors
    /// When one does not come.
    pub async fn at(kafka: &Kafka, topic: &str, offsets: BTreeMap<i32, i64>) -> Result<BTreeMap<i32, Record>, String> {
        let mut found = BTreeMap::new();
        if offsets.is_empty() {
            return Ok(found);
        }
        let mut reading = Self::from(kafka, topic, offsets.clone())?;
        while found.len() < offsets.len() {
            let record = reading.soon().await?;
            found.entry(record.partition).or_insert(record);
        }
        Ok(found)
    }

    /// A record that is there.
    async fn soon(&mut self) -> Result<Record, String> {
        let record = tokio::time::timeout(ANSWER, self.next()).await;
        record.map_err(|_| format!("the brokers do not send {} in time", self.topic))?
    }

    /// The next record of what is assigned.
    ///
    /// # Errors
    /// When the brokers are away, or have not what is asked for.
    pub async fn next(&mut self) -> Result<Record, String> {
        let consumer = Arc::clone(self.consumer()?);
        loop {
            let message = consumer.recv().await.map_err(|error| format!("{}: {error}", self.topic))?;
            let (partition, offset) = (message.partition(), message.offset());
            let Some(next) = self.next.get_mut(&partition).filter(|next| offset >= **next) else { continue };
            *next = offset + 1;
            let headers = message.headers().into_iter().flat_map(Headers::iter);
            let headers = headers.map(|header| (header.key, header.value.unwrap_or_default()));
            let read = record::read((partition, offset), headers, message.payload().unwrap_or_default());
            return read.map_err(|error| format!("{}: {error}", self.topic));
        }
    }
}

/// The first offset of each partition, and that after its last; none while it is being made, or changes its leader.
fn bounds(consumer: &StreamConsumer<Quiet>, topic: &str) -> Result<Vec<(i64, i64)>, String> {
    let away = |error: KafkaError| format!("Kafka does not answer: {error}");
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER).map_err(away)?;
    let partitions = match metadata.topics().first().map(|topic| (topic.error(), topic.partitions().len())) {
        None => 0,
        Some((None, partitions)) => partitions,
        Some((Some(error), _)) => match RDKafkaErrorCode::from(error) {
            error if passes(error) => 0,
            error => return Err(format!("{topic}: {error}")),
        },
    };
    let mut bounds = Vec::with_capacity(partitions);
    for partition in 0..i32::try_from(partitions).unwrap_or_default() {
        match consumer.fetch_watermarks(topic, partition, ANSWER) {
            Ok(found) => bounds.push(found),
            Err(error) if error.rdkafka_error_code().is_some_and(passes) => return Ok(Vec::new()),
            Err(error) => return Err(away(error)),
        }
    }
    Ok(bounds)
}

/// What is answered of a topic that is not there, or not yet.
fn passes(error: RDKafkaErrorCode) -> bool {
    matches!(
        error,
        RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::LeaderNotAvailable
            | RDKafkaErrorCode::NotLeaderForPartition
    )
}
