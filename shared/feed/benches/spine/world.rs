//! A log whose every event is a fact, its relay, and a follower that notes each fact in a log of its own.

use std::sync::Arc;
use std::time::Duration;

use contracts::feed::Fact;
use eventlog::{BoxFuture, Context, EventLog};
use runtime::{Health, Shutdown};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use trialog_feed::consumer::{Consumers, Follower};
use trialog_feed::kafka::{Kafka, RELAY, Relay};
use trialog_feed::{FactSource, ReactError, Reaction};
use uuid::Uuid;

use crate::speech::{Said, Speaker, source_of};

/// Bytes of a fact's text: with its headers a record is as large as that of a proposed trial.
const TEXT_BYTES: usize = 250;

/// Says something so many times; answers the last position.
pub async fn append(log: &EventLog, id: Uuid, stream: &str, count: usize) -> i64 {
    let said = vec![Said { text: "x".repeat(TEXT_BYTES), public: true }; count];
    let done = log.execute::<Speaker>(stream, said, Context::new(id, "bench", "req_1")).await;
    done.expect("an append succeeds").position
}

/// Between two beginnings of a relay.
const BEGINS_AGAIN: Duration = Duration::from_millis(200);

/// A relay under way.
pub struct Relayed {
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Relayed {
    pub fn begin(log: &EventLog, kafka: &Kafka) -> Self {
        let (health, shutdown) = (Health::new(), Shutdown::new());
        let relay = Relay::new(kafka.clone(), source_of(log, false), &Consumers::default(), shutdown.clone());
        let part = health.part("talk", "kafka_relay");
        // As a server's supervisor does: a topic that was made just now is known to the broker a moment later.
        let task = tokio::spawn(async move {
            while let Err(error) = relay.run(&part).await {
                eprintln!("the relay begins again: {error:#}");
                tokio::time::sleep(BEGINS_AGAIN).await;
            }
        });
        Self { shutdown, task }
    }

    /// Up to where its stored cursor is.
    pub async fn delivered(&self, log: &EventLog) -> i64 {
        let cursors = log.cursors(RELAY).await.expect("the log can be read");
        cursors.iter().map(|cursor| cursor.position).max().unwrap_or(0)
    }

    /// Waits until its stored cursor is there.
    pub async fn reaches(&self, log: &EventLog, position: i64, patience: Duration) {
        let waited = async {
            while self.delivered(log).await < position {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(patience, waited).await.expect("the relay comes to the end of the log");
    }

    pub async fn stop(self) {
        self.shutdown.request();
        self.task.await.expect("it does not panic");
    }
}

/// Notes each fact, and says when that was committed.
struct Listener {
    log: EventLog,
    done: mpsc::UnboundedSender<(i64, Instant)>,
}

impl Reaction for Listener {
    fn name(&self) -> &'static str {
        "listen"
    }

    fn service(&self) -> &'static str {
        "talk_applied"
    }

    fn handle<'a>(&'a self, fact: &'a Fact) -> BoxFuture<'a, Result<(), ReactError>> {
        Box::pin(async move {
            let id = eventlog::command_id(&fact.source, fact.position, self.name());
            append(&self.log, id, &fact.stream, 1).await;
            // The run may be over.
            let _ = self.done.send((fact.position, Instant::now()));
            Ok(())
        })
    }
}

/// A follower under way.
pub struct Applied {
    shutdown: Shutdown,
    task: JoinHandle<anyhow::Result<()>>,
    done: mpsc::UnboundedReceiver<(i64, Instant)>,
}

impl Applied {
    pub fn begin(ear: &EventLog, source: Arc<dyn FactSource>) -> Self {
        let (shutdown, health, consumers) = (Shutdown::new(), Health::new(), Consumers::default());
        let (sender, done) = mpsc::unbounded_channel();
        let listener = Arc::new(Listener { log: ear.clone(), done: sender });
        let follower = Follower::new(ear.clone(), listener, source, &consumers, shutdown.clone());
        let (part, end) = (health.part("ear", "listen"), shutdown.clone());
        let task = tokio::spawn(async move {
            // The topic may not be there yet.
            while !end.is_requested() {
                if follower.run(&part).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            Ok(())
        });
        Self { shutdown, task, done }
    }

    /// When a fact's effect was committed.
    pub async fn until(&mut self, position: i64) -> Instant {
        loop {
            let (reached, at) = self.done.recv().await.expect("the follower runs");
            if reached >= position {
                return at;
            }
        }
    }

    pub async fn stop(self) {
        self.shutdown.request();
        self.task.await.expect("it does not panic").expect("it ends in order");
    }
}
