//! A log whose every event is a fact, its relay, and a follower that notes each fact in a log of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use contracts::feed::Fact;
use contracts::runs::RunReleased;
use eventlog::{BoxFuture, Context, EventLog, Options, RecordedEvent, Store};
use runtime::{Health, MachineClock, MachineEntropy, Shutdown};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use trialog_feed::consumer::{Consumers, Follower};
use trialog_feed::kafka::{Kafka, RELAY, Relay};
use trialog_feed::{FactSource, Publication, Publish, ReactError, Reaction, Source};
use uuid::Uuid;
use vocabulary::Decider;

/// Bytes of a fact's text: with its headers a record is as large as that of a proposed trial.
const TEXT_BYTES: usize = 250;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Said {
    pub text: String,
}

vocabulary::stored_events! {
    /// What can be said.
    pub enum Speech { Said: 1 }
}

#[derive(Clone, Default)]
pub struct Speaker;

impl Decider for Speaker {
    type Command = usize;
    type Event = Speech;
    type Rejection = std::convert::Infallible;

    fn decide(&self, count: &usize) -> Result<Vec<Speech>, Self::Rejection> {
        Ok(vec![Speech::Said(Said { text: "x".repeat(TEXT_BYTES) }); *count])
    }

    fn evolve(&mut self, _: &Speech) {}
}

struct Publisher;

impl Publish for Publisher {
    fn publish(&self, event: &RecordedEvent) -> Result<Option<Publication>, String> {
        let Speech::Said(said) = event.decode().map_err(|error| error.to_string())?;
        let message = RunReleased { workspace: "lab".to_owned(), run_id: said.text };
        Ok(Some(Publication::new("RunReleased", &message)))
    }
}

pub fn source_of(log: &EventLog) -> Source {
    Source::new(log.clone(), Publisher)
}

pub async fn open(folder: &Path, service: &'static str) -> EventLog {
    let options = Options {
        service,
        store: Store::sqlite(folder.join(format!("{service}.sqlite"))),
        migrations: &[],
        views: Vec::new(),
        clock: Arc::new(MachineClock),
        entropy: Arc::new(MachineEntropy::default()),
    };
    EventLog::open(options).await.expect("the log opens")
}

/// Says something so many times; answers the last position.
pub async fn append(log: &EventLog, id: Uuid, stream: &str, count: usize) -> i64 {
    let done = log.execute::<Speaker>(stream, count, Context::new(id, "bench", "req_1")).await;
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
        let relay = Relay::new(kafka.clone(), source_of(log), &Consumers::default(), shutdown.clone());
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
