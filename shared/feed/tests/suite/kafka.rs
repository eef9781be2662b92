//! What holds of Kafka beside what holds of every carrier.

use std::sync::Arc;
use std::time::Duration;

use runtime::{Health, Shutdown};
use tokio::task::JoinHandle;
use trialog_feed::FactSource;
use trialog_feed::consumer::Consumers;
use trialog_feed::kafka::{Kafka, Relay, Topic};

use crate::world::Talk;

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
            while !end.is_requested() && log.health().is_ok() {
                if let Err(error) = relay.run(&part).await {
                    part.failed(&format!("{error:#}"));
                    tokio::time::sleep(Duration::from_millis(20)).await;
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

/// A prefix that nobody else has: its topics are its own.
pub fn anywhere() -> Kafka {
    let bootstrap = testkit::kafka().unwrap();
    at(bootstrap)
}

fn at(bootstrap: String) -> Kafka {
    Kafka { bootstrap, prefix: testkit::new_schema(), partitions: PARTITIONS, replication: 0 }
}

/// The facts of a log through a topic of its own.
pub fn through_kafka(talk: &Talk) -> Arc<dyn FactSource> {
    talk.relayed.get_or_init(|| Relayed::begin(talk, &anywhere())).topic()
}
