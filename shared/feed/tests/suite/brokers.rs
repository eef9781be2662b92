//! One of three brokers is killed while facts flow.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use testkit::Broker;
use trialog_feed::kafka::Kafka;

use crate::kafka::{Relayed, at, comes_to, is_at, talk};
use crate::world::{Following, Listener, Noted, Talk, noted, open, until};

/// Facts that flow while the broker dies.
const MEANWHILE: std::ops::Range<u32> = 60..600;

/// What the brokers say of the topic's first partition: who leads it, and how many have all of it.
async fn first_partition(kafka: &Kafka) -> (u32, usize) {
    let kafka = kafka.clone();
    let ask = move || {
        let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &kafka.bootstrap).create().unwrap();
        let found = consumer.fetch_metadata(Some(&kafka.topic("talk")), Duration::from_secs(10)).unwrap();
        let topic = &found.topics()[0];
        let partition = topic.partitions().iter().find(|partition| partition.id() == 0).unwrap();
        (u32::try_from(partition.leader()).unwrap_or_default(), partition.isr().len())
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

#[tokio::test]
async fn one_of_three_brokers_is_killed_and_everything_arrives_once_in_order() {
    // Facts of the dead broker's partitions would wait for it, be lost with it, or come again as others.
    if testkit::kafka().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_owned();
    let brokers = Arc::new(tokio::task::spawn_blocking(move || Broker::start_three(&place)).await.unwrap());
    let kafka = at(brokers.servers.clone());
    let (log, ear, mut wanted) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await, Noted::new());
    let relayed = Relayed::begin(&log, &kafka);
    let following = Following::begin(&Listener::new(&ear), relayed.topic());
    talk(&log, 0..60, &mut wanted).await;
    comes_to(&ear, &wanted).await;
    let (leader, in_sync) = first_partition(&kafka).await;
    assert_eq!(in_sync, 3, "all of them have the topic");

    let killed = Arc::clone(&brokers);
    let kill = tokio::task::spawn_blocking(move || killed.kill_node(leader));
    talk(&log, MEANWHILE, &mut wanted).await;
    kill.await.unwrap();
    talk(&log, 600..620, &mut wanted).await;
    comes_to(&ear, &wanted).await;
    let (next, in_sync) = first_partition(&kafka).await;
    assert!(next != leader && in_sync == 2, "{next} leads instead of {leader}, {in_sync} have all of it");
    until("the relay has stored all", async || is_at(&log.log, "kafka_relay", 620).await).await;

    // It comes back, and is made whole from the others.
    let back = Arc::clone(&brokers);
    tokio::task::spawn_blocking(move || back.restart_node(leader)).await.unwrap();
    talk(&log, 620..640, &mut wanted).await;
    comes_to(&ear, &wanted).await;
    until("it has everything again", async || first_partition(&kafka).await.1 == 3).await;
    until("so has the reader", async || is_at(&ear, "listen", 640).await).await;
    let is_well = async || relayed.health.unwell("talk").is_empty() && following.health.unwell("ear").is_empty();
    until("all are well", is_well).await;
    assert_eq!(noted(&ear).await, wanted);
    following.stop().await;
    relayed.stop().await;
}
