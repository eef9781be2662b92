//! What a relay has sent and not heard of: in order, and not more than fits.

use contracts::feed::Fact;
use eventlog::EventLog;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use tokio::sync::watch;
use uuid::Uuid;

use super::Kafka;
use super::client::Quiet;
use super::record::{self, Stamp};

/// Records under way: more would only wait in memory.
const RECORDS_MAX: usize = 4096;
/// And their bytes.
const BYTES_MAX: usize = 16 << 20;

/// Up to where everything is in the topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delivered {
    pub position: i64,
    /// The event there, where it is known.
    pub event_id: Option<Uuid>,
}

/// What is under way: what comes of each is heard in the order in which it was sent, so that whatever was heard of last
/// is the end of a whole prefix.
struct Flight {
    sent: FuturesOrdered<BoxFuture<'static, (anyhow::Result<Delivered>, usize)>>,
    bytes: usize,
}

impl Flight {
    fn has_room(&self) -> bool {
        self.sent.len() < RECORDS_MAX && self.bytes < BYTES_MAX
    }

    fn push(&mut self, at: Delivered, bytes: usize, sent: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.bytes += bytes;
        self.sent.push_back(sent.map(move |outcome| (outcome.map(|()| at), bytes)).boxed());
    }

    /// Never, while nothing is under way.
    async fn next(&mut self) -> anyhow::Result<Delivered> {
        let Some((outcome, bytes)) = self.sent.next().await else { return std::future::pending().await };
        self.bytes -= bytes;
        outcome
    }
}

/// A producer and what it has under way.
pub(super) struct Sending {
    producer: Option<FutureProducer<Quiet>>,
    topic: String,
    partitions: i32,
    epoch: i64,
    source: String,
    head: watch::Receiver<i64>,
    flight: Flight,
    /// The last of what was taken in.
    last: Delivered,
}

impl Drop for Sending {
    fn drop(&mut self) {
        // It throws away what it holds and waits for its threads.
        let producer = self.producer.take();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(producer))),
            Err(_) => drop(producer),
        }
    }
}

impl Sending {
    /// A new producer for a topic of so many partitions; everything up to `from` is there.
    ///
    /// # Errors
    /// When the settings are none.
    pub fn begin(
        kafka: &Kafka,
        topic: String,
        (partitions, epoch): (i32, i64),
        log: &EventLog,
        from: i64,
    ) -> anyhow::Result<Self> {
        let producer = kafka.producer(&topic).create_with_context(Quiet::default())?;
        Ok(Self {
            producer: Some(producer),
            topic,
            partitions,
            epoch,
            source: log.source().to_owned(),
            head: log.head(),
            flight: Flight { sent: FuturesOrdered::new(), bytes: 0 },
            last: Delivered { position: from, event_id: None },
        })
    }

    /// Whether another fact may be taken in.
    pub fn has_room(&self) -> bool {
        self.flight.has_room()
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.flight.sent.is_empty()
    }

    /// Up to where everything is delivered now; never, while nothing is under way.
    ///
    /// # Errors
    /// When something was not delivered: nothing that comes after it may be, so the producer is of no more use.
    pub async fn next(&mut self) -> anyhow::Result<Delivered> {
        self.flight.next().await
    }

    /// Takes a fact in: sent, or, when it only says that nothing is missing, told with the next mark.
    ///
    /// # Errors
    /// When the producer does not take it.
    pub fn send(&mut self, fact: &Fact) -> anyhow::Result<()> {
        self.last = Delivered { position: fact.position, event_id: Uuid::try_parse(&fact.event_id).ok() };
        if fact.watermark {
            self.flight.push(self.last, 0, std::future::ready(Ok(())));
            return Ok(());
        }
        let delivery = self.produce(fact, None)?;
        let name = format!("position {} of {}", fact.position, fact.source);
        self.flight.push(self.last, fact.payload.len(), delivered(delivery, name));
        Ok(())
    }

    /// Tells each partition that nothing up to the last position is missing; answers that position.
    ///
    /// # Errors
    /// When the producer does not take it.
    pub fn mark(&mut self) -> anyhow::Result<i64> {
        let Delivered { position, event_id } = self.last;
        let event_id = event_id.map(|id| id.to_string()).unwrap_or_default();
        let fact = Fact { source: self.source.clone(), position, event_id, watermark: true, ..Fact::default() };
        let mut sent = Vec::new();
        for partition in 0..self.partitions {
            let delivery = self.produce(&fact, Some(partition))?;
            sent.push(delivered(delivery, format!("a watermark in partition {partition}")));
        }
        let all = async { futures_util::future::try_join_all(sent).await.map(drop) };
        self.flight.push(self.last, 0, all);
        Ok(position)
    }

    fn produce(&self, fact: &Fact, partition: Option<i32>) -> anyhow::Result<DeliveryFuture> {
        let stamp = Stamp { epoch: self.epoch, head: (*self.head.borrow()).max(fact.position) };
        let named = record::headers(fact, stamp);
        let headers = named.iter().fold(OwnedHeaders::new_with_capacity(named.len()), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value.as_str()) })
        });
        let mut record = FutureRecord::to(&self.topic).headers(headers);
        match partition {
            Some(partition) => record = record.partition(partition),
            None => record = record.key(fact.stream.as_str()).payload(fact.payload.as_slice()),
        }
        let producer = self.producer.as_ref().ok_or_else(|| anyhow::anyhow!("closed"))?;
        let refused = |error| anyhow::anyhow!("{} does not take position {}: {error}", self.topic, fact.position);
        producer.send_result(record).map_err(|(error, _)| refused(error))
    }
}

async fn delivered(delivery: DeliveryFuture, name: String) -> anyhow::Result<()> {
    match delivery.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err((error, _))) => anyhow::bail!("{name} was not delivered: {error}"),
        Err(_) => anyhow::bail!("{name} was not delivered: the producer is gone"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_heard_of_is_the_end_of_a_whole_prefix() {
        let mut flight = Flight { sent: FuturesOrdered::new(), bytes: 0 };
        let at = |position| Delivered { position, event_id: None };
        let (mut arrive, mut arrives) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (sender, receiver) = oneshot::channel::<()>();
            arrive.push(sender);
            arrives.push(receiver);
        }
        for (position, arrived) in (1..).zip(arrives) {
            flight.push(at(position), 10, async { arrived.await.map_err(anyhow::Error::from) });
        }
        flight.push(at(4), 0, std::future::ready(Ok(())));
        let mut arrive = arrive.into_iter();
        let (first, second, third) = (arrive.next().unwrap(), arrive.next().unwrap(), arrive.next().unwrap());
        third.send(()).unwrap();
        assert!(flight.next().now_or_never().is_none(), "the third is delivered, the first is not");
        first.send(()).unwrap();
        assert_eq!(flight.next().await.unwrap(), at(1));
        assert!(flight.next().now_or_never().is_none());
        assert_eq!(flight.bytes, 20);
        drop(second);
        assert!(flight.next().await.is_err(), "nothing of what comes after one that failed is taken for delivered");
    }

    #[test]
    fn what_is_under_way_is_bounded_in_number_and_bytes() {
        let mut flight = Flight { sent: FuturesOrdered::new(), bytes: 0 };
        for position in 0..RECORDS_MAX {
            assert!(flight.has_room(), "{position}");
            flight.push(Delivered::default(), 1, std::future::pending());
        }
        assert!(!flight.has_room());
        let mut flight = Flight { sent: FuturesOrdered::new(), bytes: 0 };
        flight.push(Delivered::default(), BYTES_MAX, std::future::pending());
        assert!(!flight.has_room());
    }
}
