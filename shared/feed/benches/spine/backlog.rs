//! A log that the broker has nothing of yet.

use std::path::Path;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::time::Instant;
use trialog_feed::kafka::Kafka;
use vocabulary::{Entropy, SeededEntropy};

use super::line;
use crate::speech::open;
use crate::world::{Relayed, append};

/// Events of a stream of the backlog.
const EVENTS: usize = 500;
/// Records of the topic that the bare producer sends again and again.
const SAMPLE: usize = 20_000;
const PATIENCE: Duration = Duration::from_secs(300);

/// Facts a second from a log to a topic, and records a second of a bare producer with the same keys, headers and bytes.
pub async fn relay(folder: &Path, kafka: &Kafka, facts: u64) {
    let (log, entropy) = (open(folder, "talk").await, SeededEntropy::new(9));
    let streams = usize::try_from(facts).expect("it fits") / EVENTS;
    for stream in 0..streams {
        append(&log, entropy.uuid(), &format!("lab/{stream}"), EVENTS).await;
    }
    let head = *log.head().borrow();
    let begun = Instant::now();
    let relayed = Relayed::begin(&log, kafka);
    relayed.reaches(&log, head, PATIENCE).await;
    let value = head as f64 / begun.elapsed().as_secs_f64();
    relayed.stop().await;
    log.close().await;
    let (kafka, count) = (kafka.clone(), head as usize);
    let floor = tokio::task::spawn_blocking(move || bare(&kafka, count)).await.expect("the bare producer runs");
    line("relay_backlog", value, "facts/s", Some(floor));
    if value < floor * 0.6 {
        eprintln!("relay_backlog: {:.2} of a bare producer is below the bar of 0.6", value / floor);
    }
}

/// Records a second of a producer that is set as the relay's, with records of the relay's own topic.
fn bare(kafka: &Kafka, count: usize) -> f64 {
    let sample = sample(kafka);
    let topic = format!("{}.bare", kafka.prefix);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.bootstrap)
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", "true")
        .set("acks", "all")
        .set("message.timeout.ms", "0")
        .set("partitioner", "murmur2_random")
        .set("compression.type", "lz4")
        .set("linger.ms", "1")
        .set("queue.buffering.max.kbytes", "65536")
        .set("queue.buffering.max.messages", "16384")
        .create()
        .expect("a producer");
    make(kafka, &topic);
    // What was just made is known a moment later.
    while producer.client().fetch_metadata(Some(&topic), PATIENCE).is_ok_and(|found| is_unknown(&found)) {
        std::thread::sleep(Duration::from_millis(50));
    }
    send(&producer, &topic, &sample[0]);
    producer.flush(PATIENCE).expect("the first record arrives");
    let begun = Instant::now();
    for record in sample.iter().cycle().take(count) {
        send(&producer, &topic, record);
    }
    producer.flush(PATIENCE).expect("all arrive");
    count as f64 / begun.elapsed().as_secs_f64()
}

fn is_unknown(found: &Metadata) -> bool {
    found.topics().iter().any(|topic| topic.error().is_some() || topic.partitions().is_empty())
}

/// Makes a topic with as many partitions as the relay's.
fn make(kafka: &Kafka, topic: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &kafka.bootstrap).create().expect("a client");
    let (wanted, options) = (NewTopic::new(topic, kafka.partitions, TopicReplication::Fixed(1)), AdminOptions::new());
    let made = Handle::current().block_on(admin.create_topics([&wanted], &options)).expect("the broker answers");
    assert!(made.iter().all(Result::is_ok), "{made:?}");
}

fn send(producer: &BaseProducer, topic: &str, record: &OwnedMessage) {
    let (key, payload) = (record.key().unwrap_or_default(), record.payload().unwrap_or_default());
    let headers = record.headers().cloned().unwrap_or_else(OwnedHeaders::new);
    let mut one = BaseRecord::to(topic).key(key).payload(payload).headers(headers);
    while let Err((error, back)) = producer.send(one) {
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
        producer.poll(Duration::from_millis(1));
        one = back;
    }
    producer.poll(Duration::ZERO);
}

/// Records that the relay has sent: facts, no watermarks.
fn sample(kafka: &Kafka) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.bootstrap)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut from = TopicPartitionList::new();
    for partition in 0..kafka.partitions {
        from.add_partition_offset(&kafka.topic("talk"), partition, Offset::Beginning).expect("a place");
    }
    consumer.assign(&from).expect("the topic is there");
    let mut found = Vec::with_capacity(SAMPLE);
    while found.len() < SAMPLE {
        let record = consumer.poll(PATIENCE).expect("there are more").expect("it can be read").detach();
        if record.headers().is_some_and(|headers| headers.count() > 8) {
            found.push(record);
        }
    }
    found
}
