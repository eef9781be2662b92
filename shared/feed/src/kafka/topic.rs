//! The topic of a service: made when it is absent, never changed.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;

use super::Kafka;
use super::client::Quiet;

/// Facts are kept so long, counted from when they were sent: 7 days. The log has them for ever.
const RETENTION_MS: &str = "604800000";
/// How long the brokers may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// With so many replicas two of them have to have a record before it counts as delivered.
const SAFE_REPLICATION: i32 = 3;

/// Makes a topic unless it is there.
///
/// # Errors
/// When the brokers cannot be asked, or refuse it.
pub(super) async fn make(kafka: &Kafka, topic: &str) -> anyhow::Result<()> {
    let admin: AdminClient<Quiet> = kafka.client(topic).create_with_context(Quiet)?;
    let replication = if kafka.replication == 0 { -1 } else { kafka.replication };
    let mut new = NewTopic::new(topic, kafka.partitions, TopicReplication::Fixed(replication))
        .set("cleanup.policy", "delete")
        .set("retention.ms", RETENTION_MS)
        // Old facts that are sent late are kept as long as new ones.
        .set("message.timestamp.type", "LogAppendTime")
        .set("max.message.bytes", "33554432")
        .set("unclean.leader.election.enable", "false");
    if kafka.replication >= SAFE_REPLICATION {
        new = new.set("min.insync.replicas", "2");
    }
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
    let made = admin.create_topics([&new], &options).await;
    // Its threads end when it is dropped, which takes a moment.
    tokio::task::spawn_blocking(move || drop(admin));
    match made?.into_iter().next() {
        None | Some(Ok(_)) => {
            tracing::info!(topic, partitions = kafka.partitions, "the topic was made");
            Ok(())
        }
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
        Some(Err((_, error))) => anyhow::bail!("the topic {topic} cannot be made: {error}"),
    }
}
