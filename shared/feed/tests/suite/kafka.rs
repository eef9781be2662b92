//! What holds of Kafka beside what holds of every carrier.

use std::sync::Arc;
use std::time::Duration;

use eventlog::{Context, EventLog, Recorded, Store, sql};
use futures_util::StreamExt;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use runtime::{Backoff, Health, MachineEntropy, Shutdown};
use testkit::Broker;
use tokio::task::JoinHandle;
use trialog_feed::FactSource;
use trialog_feed::consumer::Consumers;
use trialog_feed::kafka::{Carried, Kafka, Relay, Security, Topic};
use trialog_feed::source::{Cursor, OpenError};
use vocabulary::Entropy;

use crate::world::{Following, Listener, Noted, Said, Speaker, Talk, noted, open, until, until_noted};

/// Partitions of the topics here: more than one, so that order and progress are of each.
const PARTITIONS: i32 = 3;

/// A relay under way. Like its supervisor, this begins it again when it fails.
pub struct Relayed {
    pub kafka: Kafka,
    pub health: Health,
    pub consumers: Consumers,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Relayed {
    pub fn begin(talk: &Talk, kafka: &Kafka) -> Self {
        let (health, consumers, shutdown) = (Health::new(), Consumers::default(), Shutdown::new());
        let relay = Relay::new(kafka.clone(), talk.source.clone(), &consumers, shutdown.clone());
        let (part, log, end) = (health.part("talk", "kafka_relay"), talk.log.clone(), shutdown.clone());
        let task = tokio::spawn(async move {
            let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(40));
            while !end.is_requested() && log.health().is_ok() {
                if let Err(error) = relay.run(&part).await {
                    part.failed(&format!("{error:#}"));
                    backoff.wait_unless(&end).await;
                }
            }
        });
        Self { kafka: kafka.clone(), health, consumers, shutdown, task }
    }

    pub fn topic(&self) -> Arc<Topic> {
        Arc::new(Topic::new(self.kafka.clone(), "talk"))
    }

    /// Ends it in order.
    pub async fn stop(mut self) {
        self.shutdown.request();
        (&mut self.task).await.unwrap();
    }

    /// Ends it as a power failure would.
    pub async fn kill(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A prefix that nobody else has, so that its topics are a test's own; `None` where there is no Kafka.
fn anywhere() -> Option<Kafka> {
    testkit::kafka().map(at)
}

pub fn at(bootstrap: String) -> Kafka {
    let (prefix, security) = (testkit::new_schema(), Security::default());
    Kafka { bootstrap, prefix, partitions: PARTITIONS, replication: 0, security }
}

/// The facts of a log through a topic of its own.
pub fn through_kafka(talk: &Talk) -> Arc<dyn FactSource> {
    talk.relayed.get_or_init(|| Relayed::begin(talk, &anywhere().unwrap())).topic()
}

/// Says numbers in some streams, some of them in private; answers what is to be noted.
pub async fn talk(talk: &Talk, numbers: std::ops::Range<u32>, wanted: &mut Noted) {
    for number in numbers {
        let (stream, public) = (format!("lab/{}", number % 7), number % 4 != 0);
        talk.append(&stream, vec![Said { text: number.to_string(), public }]).await;
        if public {
            wanted.entry(stream).or_default().push(number.to_string());
        }
    }
}

pub async fn comes_to(ear: &EventLog, wanted: &Noted) {
    let count = |noted: &Noted| noted.values().map(Vec::len).sum::<usize>();
    until_noted("everything is noted", ear, |noted| count(noted) >= count(wanted)).await;
    assert_eq!(&noted(ear).await, wanted);
}

/// Whether a projection's cursors are all at a position.
pub async fn is_at(log: &EventLog, projection: &str, position: i64) -> bool {
    let cursors = log.cursors(projection).await.unwrap();
    !cursors.is_empty() && cursors.iter().all(|cursor| cursor.position == position)
}

/// Changes rows behind everybody's back.
async fn tamper(log: &EventLog, statement: &'static str) {
    let context = Context::new(MachineEntropy::default().uuid(), "test", "");
    let change = log.record::<Speaker, _>("tamper", None, context, move |_, tx| {
        Box::pin(async move {
            sql(statement).execute(tx).await?;
            Ok(Recorded { events: Vec::new(), reply: Vec::new() })
        })
    });
    change.await.unwrap();
}

/// The first offset of each partition, and that after its last.
async fn bounds(kafka: &Kafka) -> Vec<(i64, i64)> {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let kafka = kafka.clone();
    let ask = move || {
        let mut config = ClientConfig::new();
        let consumer: BaseConsumer = config.set("bootstrap.servers", &kafka.bootstrap).create().unwrap();
        let of = |partition| consumer.fetch_watermarks(&kafka.topic("talk"), partition, Duration::from_secs(10));
        (0..kafka.partitions).map(|partition| of(partition).unwrap()).collect()
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

/// What is reported of the relay of a talk, once it is.
async fn halted(relayed: &Relayed) -> String {
    until("the relay halts", async || !relayed.health.unwell("talk").is_empty()).await;
    relayed.health.unwell("talk").remove(0).reason
}

#[tokio::test]
async fn a_relay_that_dies_between_the_delivery_and_its_cursor_sends_again_what_readers_drop() {
    let Some(kafka) = anywhere() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (log, ear, mut wanted) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await, Noted::new());
    let relayed = Relayed::begin(&log, &kafka);
    let following = Following::begin(&Listener::new(&ear), relayed.topic());
    talk(&log, 0..40, &mut wanted).await;
    comes_to(&ear, &wanted).await;
    until("the relay has stored all", async || is_at(&log.log, "kafka_relay", 40).await).await;
    relayed.kill().await;
    // As if it had died before that.
    tamper(&log.log, "UPDATE projection_cursor SET last_position = 10, event_id = NULL").await;
    let before = bounds(&kafka).await;
    let relayed = Relayed::begin(&log, &kafka);
    talk(&log, 40..60, &mut wanted).await;
    comes_to(&ear, &wanted).await;
    until("the relay has stored all", async || is_at(&log.log, "kafka_relay", 60).await).await;
    until("so has the reader", async || is_at(&ear, "listen", 60).await).await;
    let after = bounds(&kafka).await;
    let sent: i64 = before.iter().zip(&after).map(|(before, after)| after.1 - before.1).sum();
    assert!(sent >= 50 * 3 / 4, "{sent} records: what came after 10 was sent again");
    assert_eq!(noted(&ear).await, wanted, "and changes nothing");
    following.stop().await;
    relayed.stop().await;
}

#[tokio::test]
async fn a_hint_that_is_wrong_costs_time_and_no_fact() {
    let Some(kafka) = anywhere() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (log, ear, mut wanted) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await, Noted::new());
    let _relayed = Relayed::begin(&log, &kafka);
    let listener = Listener::new(&ear);
    let topic = || Arc::new(Topic::new(kafka.clone(), "talk"));
    for change in [
        "UPDATE projection_cursor SET resume = 0",
        "UPDATE projection_cursor SET resume = resume + 1",
        "UPDATE projection_cursor SET resume = resume - 1",
        "UPDATE projection_cursor SET resume = 1000000000",
        "UPDATE projection_cursor SET resume = -7",
        "UPDATE projection_cursor SET event_id = NULL",
    ] {
        let from = u32::try_from(wanted.values().map(Vec::len).sum::<usize>()).unwrap() * 4 / 3;
        let following = Following::begin(&listener, topic());
        talk(&log, from..from + 40, &mut wanted).await;
        comes_to(&ear, &wanted).await;
        following.stop().await;
        let hints = ear.cursors("listen").await.unwrap();
        assert!(hints.iter().all(|cursor| cursor.resume > 0), "it would look the topic through each time: {hints:?}");
        tamper(&ear, change).await;
        talk(&log, from + 40..from + 60, &mut wanted).await;
    }
    let following = Following::begin(&listener, topic());
    comes_to(&ear, &wanted).await;
    following.stop().await;
}

#[tokio::test]
async fn what_carries_the_facts_can_be_changed_and_changed_back() {
    let Some(kafka) = anywhere() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (log, ear, mut wanted) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await, Noted::new());
    let listener = Listener::new(&ear);
    let direct: Arc<dyn FactSource> = Arc::new(log.source.clone());
    let relayed = Relayed::begin(&log, &kafka);
    // More partitions are another topic.
    let more = Kafka { partitions: 5, prefix: format!("{}m", kafka.prefix), ..kafka.clone() };
    let also = Relayed::begin(&log, &more);
    let carriers: [(Arc<dyn FactSource>, usize); 3] = [(direct, 1), (relayed.topic(), 3), (also.topic(), 5)];
    for (round, turn) in [0, 1, 0, 1, 2, 1, 0].into_iter().enumerate() {
        let (source, partitions) = &carriers[turn];
        let following = Following::begin(&listener, Arc::clone(source));
        let from = round as u32 * 30;
        talk(&log, from..from + 30, &mut wanted).await;
        if round % 2 == 0 {
            comes_to(&ear, &wanted).await;
            until("its cursor is the carrier's", async || ear.cursors("listen").await.unwrap().len() == *partitions)
                .await;
            following.stop().await;
        } else {
            following.kill().await;
            // Unlike a process that ends, this one still writes what was asked for.
            ear.move_cursor("behind it", "talk", 1).await.unwrap();
        }
    }
    comes_to(&ear, &wanted).await;
}

#[tokio::test]
async fn what_a_topic_has_lost_is_read_from_the_log_and_never_skipped() {
    let Some(kafka) = anywhere() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (log, ear, mut wanted) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await, Noted::new());
    let _relayed = Relayed::begin(&log, &kafka);
    talk(&log, 0..60, &mut wanted).await;
    until("all is relayed", async || is_at(&log.log, "kafka_relay", 60).await).await;
    // As time does it.
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &kafka.bootstrap).create().unwrap();
    let mut gone = TopicPartitionList::new();
    for (partition, (_, end)) in (0..).zip(bounds(&kafka).await) {
        gone.add_partition_offset(&kafka.topic("talk"), partition, Offset::Offset(end - 2)).unwrap();
    }
    admin.delete_records(&gone, &AdminOptions::new()).await.unwrap();
    talk(&log, 60..80, &mut wanted).await;
    let topic = Topic::new(kafka.clone(), "talk");
    let refused = topic.open(&Cursor::default()).await.unwrap_err();
    assert!(matches!(refused, OpenError::Expired { from: 0, .. }), "{refused}");
    let carried = Arc::new(Carried::new(kafka.clone(), "talk", log.source.clone()));
    let following = Following::begin(&Listener::new(&ear), carried);
    comes_to(&ear, &wanted).await;
    talk(&log, 80..100, &mut wanted).await;
    comes_to(&ear, &wanted).await;
    let is_carried = async || ear.cursors("listen").await.unwrap().len() == 3;
    until("it has come back to the topic", is_carried).await;
    following.stop().await;
}

/// Copies a topic into another one, but for the record at a position of the log.
async fn copy_without(kafka: &Kafka, position: i64) -> Kafka {
    use rdkafka::Message;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::Headers;
    use rdkafka::producer::{FutureProducer, FutureRecord};
    let copy = Kafka { prefix: format!("{}c", kafka.prefix), ..kafka.clone() };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka.bootstrap);
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let (name, to) = (kafka.topic("talk"), copy.topic("talk"));
    let new = NewTopic::new(&to, kafka.partitions, TopicReplication::Fixed(-1));
    admin.create_topics([&new], &AdminOptions::new()).await.unwrap();
    let bounds = bounds(kafka).await;
    let consumer: BaseConsumer = config.clone().set("group.id", "copy").create().unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..kafka.partitions {
        all.add_partition_offset(&name, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    let count = usize::try_from(bounds.iter().map(|(low, high)| high - low).sum::<i64>()).unwrap();
    let read = tokio::task::spawn_blocking(move || {
        consumer.iter().take(count).map(|record| record.unwrap().detach()).collect::<Vec<_>>()
    });
    let producer: FutureProducer = config.create().unwrap();
    let (mut sent, mut left_out) = (Vec::new(), 0);
    for record in read.await.unwrap() {
        let headers = record.headers().unwrap();
        let is = |name: &str, value: &str| headers.iter().any(|h| h.key == name && h.value == Some(value.as_bytes()));
        if is("position", &position.to_string()) && !is("type", "Watermark") {
            left_out += 1;
            continue;
        }
        let mut again = FutureRecord::to(&to).partition(record.partition()).headers(headers.clone());
        (again.key, again.payload) = (record.key(), record.payload());
        sent.push(producer.send_result::<[u8], [u8]>(again).map_err(|(error, _)| error).unwrap());
    }
    for sent in sent {
        sent.await.unwrap().unwrap();
    }
    assert_eq!(left_out, 1);
    copy
}

#[tokio::test]
async fn a_fact_that_is_missing_in_the_topic_is_read_from_the_log() {
    // Its reader met the hole again and again; or, where another stream's fact came behind it, never saw it.
    let Some(kafka) = anywhere() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (log, ear, mut wanted) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await, Noted::new());
    let relayed = Relayed::begin(&log, &kafka);
    talk(&log, 0..60, &mut wanted).await;
    until("all is relayed", async || is_at(&log.log, "kafka_relay", 60).await).await;
    relayed.stop().await;
    // Of lab/3, whose next fact is at 18.
    let lacking = copy_without(&kafka, 11).await;
    let carried = Arc::new(Carried::new(lacking.clone(), "talk", log.source.clone()));
    let following = Following::begin(&Listener::new(&ear), carried);
    comes_to(&ear, &wanted).await;
    let is_carried = async || ear.cursors("listen").await.unwrap().len() == 3;
    until("it has come back to the topic", is_carried).await;
    let relayed = Relayed::begin(&log, &lacking);
    talk(&log, 60..80, &mut wanted).await;
    comes_to(&ear, &wanted).await;
    following.stop().await;
    relayed.stop().await;
}

#[tokio::test]
async fn a_topic_that_is_made_anew_is_filled_from_the_log() {
    let Some(kafka) = anywhere() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (log, ear, mut wanted) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await, Noted::new());
    let relayed = Relayed::begin(&log, &kafka);
    talk(&log, 0..30, &mut wanted).await;
    until("all is relayed", async || is_at(&log.log, "kafka_relay", 30).await).await;
    relayed.stop().await;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &kafka.bootstrap).create().unwrap();
    let name = kafka.topic("talk");
    admin.delete_topics(&[name.as_str()], &AdminOptions::new()).await.unwrap();
    let _relayed = Relayed::begin(&log, &kafka);
    let following = Following::begin(&Listener::new(&ear), Arc::new(Topic::new(kafka.clone(), "talk")));
    comes_to(&ear, &wanted).await;
    following.stop().await;
}

#[tokio::test]
async fn a_topic_tells_of_another_log_and_a_relay_of_one_that_was_set_back() {
    let Some(kafka) = anywhere() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (file, copy) = (folder.path().join("talk.sqlite"), folder.path().join("copy"));
    let log = Talk::open(folder.path()).await;
    log.say("lab/a", "one").await;
    log.log.close().await;
    std::fs::copy(&file, &copy).unwrap();
    let log = Talk::open(folder.path()).await;
    let relayed = Relayed::begin(&log, &kafka);
    for text in ["two", "three"] {
        log.say("lab/a", text).await;
    }
    until("all is relayed", async || is_at(&log.log, "kafka_relay", 3).await).await;
    let known = log.log.source().to_owned();
    let mut facts = relayed.topic().open(&Cursor::at(&known, 3)).await.unwrap().facts;
    relayed.stop().await;
    log.log.close().await;
    for grown in [0, 4] {
        std::fs::copy(&copy, &file).unwrap();
        let log = Talk::open(folder.path()).await;
        for number in 0..grown {
            log.say("lab/a", &format!("other {number}")).await;
        }
        let relayed = Relayed::begin(&log, &kafka);
        let reason = halted(&relayed).await;
        assert!(reason.contains("set back") && reason.contains("--accept-database talk"), "{grown}: {reason}");
        relayed.stop().await;
        log.log.close().await;
    }
    // As that option makes it.
    Store::sqlite(&file).renew(77).await.unwrap();
    let log = Talk::open(folder.path()).await;
    let relayed = Relayed::begin(&log, &kafka);
    let met = log.log.source().to_owned();
    let broken = loop {
        // Watermarks of the log that it knows may still come.
        match facts.next().await.unwrap() {
            Ok(fact) => assert!(fact.watermark && fact.source == known, "{fact:?}"),
            Err(broken) => break broken,
        }
    };
    assert!(broken.contains(&met), "who reads is told: {broken}");
    let refused = relayed.topic().open(&Cursor::at(&known, 3)).await.unwrap_err();
    assert_eq!(refused, OpenError::OtherIncarnation { known, met: met.clone() });
    let ear = open(folder.path(), "ear").await;
    let following = Following::begin(&Listener::new(&ear), relayed.topic());
    until_noted("a new reader gets what is there now", &ear, |noted| {
        noted.get("lab/a").is_some_and(|heard| heard.last().is_some_and(|last| last == "other 3"))
    })
    .await;
    assert_eq!(noted(&ear).await["lab/a"], ["one", "other 0", "other 1", "other 2", "other 3"]);
    following.stop().await;
}

#[tokio::test]
async fn partitions_are_not_changed_in_place() {
    let Some(kafka) = anywhere() else { return };
    let folder = tempfile::tempdir().unwrap();
    let log = Talk::open(folder.path()).await;
    let relayed = Relayed::begin(&log, &kafka);
    log.say("lab/a", "one").await;
    until("it is relayed", async || is_at(&log.log, "kafka_relay", 1).await).await;
    relayed.stop().await;
    let relayed = Relayed::begin(&log, &Kafka { partitions: 4, ..kafka });
    let reason = halted(&relayed).await;
    assert!(reason.contains("Set it to 3, or take another feed.kafka.prefix"), "{reason}");
    relayed.stop().await;
}

#[tokio::test]
async fn appends_go_on_without_a_broker_and_everything_arrives_once_it_is_back() {
    if anywhere().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_owned();
    let broker = Arc::new(tokio::task::spawn_blocking(move || Broker::start(&place)).await.unwrap());
    let kafka = at(broker.servers.clone());
    let (log, ear, mut wanted) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await, Noted::new());
    let relayed = Relayed::begin(&log, &kafka);
    let following = Following::begin(&Listener::new(&ear), relayed.topic());
    talk(&log, 0..50, &mut wanted).await;
    comes_to(&ear, &wanted).await;
    // In the middle of it.
    talk(&log, 50..80, &mut wanted).await;
    let killed = Arc::clone(&broker);
    tokio::task::spawn_blocking(move || killed.kill()).await.unwrap();
    talk(&log, 80..200, &mut wanted).await;
    let reason = halted(&relayed).await;
    assert!(reason.contains(&kafka.bootstrap) && reason.contains("nothing is lost"), "{reason}");
    talk(&log, 200..220, &mut wanted).await;
    // What it holds goes with its process.
    relayed.kill().await;
    assert!(log.log.cursor("kafka_relay", log.log.source()).await.unwrap() < 220, "it is not delivered");
    let relayed = Relayed::begin(&log, &kafka);
    talk(&log, 220..250, &mut wanted).await;
    let back = Arc::clone(&broker);
    tokio::task::spawn_blocking(move || back.restart()).await.unwrap();
    comes_to(&ear, &wanted).await;
    until("it is well again", async || relayed.health.unwell("talk").is_empty()).await;
    until("the relay has stored all", async || is_at(&log.log, "kafka_relay", 250).await).await;
    until("so has the reader", async || is_at(&ear, "listen", 250).await).await;
    assert_eq!(noted(&ear).await, wanted);
    following.stop().await;
    relayed.stop().await;
}
