//! The topic of a service: made when it is absent, never changed.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::Kafka;
use super::client::Quiet;

/// Facts are kept so long, counted from when they were sent: 7 days. The log has them for ever.
const RETENTION_MS: &str = "604800000";
/// How long the brokers may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// With so many replicas two of them have to have a record before it counts as delivered.
const SAFE_REPLICATION: i32 = 3;
/// How many of them have to, which is what the brokers' own default does not ask for.
const SAFE_IN_SYNC: usize = 2;
const IN_SYNC: &str = "min.insync.replicas";

/// Makes a topic unless it is there.
///
/// # Errors
/// When the brokers cannot be asked, or refuse it.
pub(super) async fn make(kafka: &Kafka, topic: &str) -> anyhow::Result<()> {
    let admin: AdminClient<Quiet> = kafka.client(topic).create_with_context(Quiet::default())?;
    let replication = if kafka.replication == 0 { -1 } else { kafka.replication };
    let mut new = NewTopic::new(topic, kafka.partitions, TopicReplication::Fixed(replication))
        .set("cleanup.policy", "delete")
        .set("retention.ms", RETENTION_MS)
        // Old facts that are sent late are kept as long as new ones.
        .set("message.timestamp.type", "LogAppendTime")
        .set("max.message.bytes", "33554432")
        .set("unclean.leader.election.enable", "false");
    if kafka.replication >= SAFE_REPLICATION {
        new = new.set(IN_SYNC, "2");
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

/// What the loss of one machine of Kafka's may cost, for whoever runs it; `None` when nothing.
///
/// # Errors
/// When the brokers do not say.
pub(super) async fn weakness(kafka: &Kafka, topic: &str) -> anyhow::Result<Option<String>> {
    let admin: AdminClient<Quiet> = kafka.client(topic).create_with_context(Quiet::default())?;
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let described = admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options).await;
    let asked = topic.to_owned();
    let replicas = tokio::task::spawn_blocking(move || {
        let metadata = admin.inner().fetch_metadata(Some(&asked), PATIENCE)?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        Ok::<_, KafkaError>(partitions.map(|partition| partition.replicas().len()).min())
    });
    let Some(replicas) = replicas.await?? else { anyhow::bail!("{topic} is not there") };
    let described = described?.into_iter().next().transpose().map_err(|error| anyhow::anyhow!("{topic}: {error}"))?;
    let in_sync = described.and_then(|topic| topic.get(IN_SYNC)?.value.as_ref()?.parse().ok());
    Ok(weakness_of(topic, replicas, in_sync.unwrap_or(1)))
}

fn weakness_of(topic: &str, replicas: usize, in_sync: usize) -> Option<String> {
    let costs = "facts that Kafka has taken may be lost with a broker, and followers have to read them from the log";
    if i32::try_from(replicas).is_ok_and(|replicas| replicas < SAFE_REPLICATION) {
        return Some(format!(
            "{topic} has {replicas} replica(s) of each partition: {costs}. Have {SAFE_REPLICATION}: \
             feed.kafka.replication is for topics that are made; this one is changed with kafka-reassign-partitions.sh"
        ));
    }
    (in_sync < SAFE_IN_SYNC).then(|| {
        format!(
            "{topic} has {IN_SYNC} = {in_sync}: {costs}. Set it to {SAFE_IN_SYNC}: kafka-configs.sh --alter --topic \
             {topic} --add-config {IN_SYNC}={SAFE_IN_SYNC}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_broker_may_lose_is_said() {
        // A topic with one replica, or three of which one is enough, is well until its machine burns down.
        let says = |replicas, in_sync| weakness_of("trialog.runs.v1", replicas, in_sync).unwrap_or_default();
        assert!(says(1, 1).contains("has 1 replica(s)") && says(2, 2).contains("Have 3"), "{}", says(1, 1));
        assert!(says(3, 1).contains("--add-config min.insync.replicas=2"), "{}", says(3, 1));
        assert_eq!(weakness_of("trialog.runs.v1", 3, 2), None);
    }

    #[tokio::test]
    async fn the_brokers_are_asked() {
        let Some(bootstrap) = testkit::kafka() else { return };
        let security = crate::kafka::Security::default();
        let kafka = Kafka { bootstrap, prefix: testkit::new_schema(), partitions: 2, replication: 0, security };
        let topic = kafka.topic("talk");
        make(&kafka, &topic).await.unwrap();
        let known = async || match weakness(&kafka, &topic).await {
            Ok(known) => Ok(known.unwrap_or_default()),
            Err(error) => Err(error.to_string()),
        };
        // What was just made is known a moment later.
        let said = testkit::await_that_async(Duration::from_secs(30), known).await;
        assert!(said.contains("has 1 replica(s) of each partition"), "the one of tests has one broker: {said}");
    }
}
