//! Where each service's facts are, and who follows them: what the wiring hands to every service.

use std::sync::Arc;

use contracts::Peers;
use contracts::feed::consumer_service_server::ConsumerServiceServer;
use contracts::feed::feed_service_server::FeedServiceServer;
use eventlog::EventLog;
use futures_util::future::BoxFuture;
use runtime::{Shutdown, Task};
use tonic::service::RoutesBuilder;

use crate::consumer::{Consumers, Desk, Follower, Reaction};
use crate::source::{Cursor, FactSource, FeedServer, OpenError, Opened, Remote, Source};

/// The feeds of an installation as one process sees them. Clones share them.
#[derive(Clone, Default)]
pub struct Feeds {
    peers: Peers,
    here: FeedServer,
    consumers: Consumers,
    /// What carries facts between processes, where something does.
    #[cfg(feature = "kafka")]
    kafka: Option<crate::kafka::Kafka>,
}

impl Feeds {
    /// Feeds of services behind `peers`, until they are added as running here.
    pub fn new(peers: Peers) -> Self {
        Self { peers, ..Self::default() }
    }

    /// Followers read what Kafka carries, and services that run here are relayed to it.
    #[cfg(feature = "kafka")]
    #[must_use]
    pub fn through(self, kafka: crate::kafka::Kafka) -> Self {
        Self { kafka: Some(kafka), ..self }
    }

    /// A service runs in this process: its facts are read from its log.
    pub fn add(&self, service: &'static str, source: Source) {
        self.here.add(service, source);
    }

    /// Where a service's facts come from. Services know each other before they are there: it is looked up at each
    /// opening.
    pub fn of(&self, service: &'static str) -> Arc<dyn FactSource> {
        let log = Somewhere { feeds: self.clone(), service };
        #[cfg(feature = "kafka")]
        if let Some(kafka) = &self.kafka {
            return Arc::new(crate::kafka::Carried::new(kafka.clone(), service, log));
        }
        Arc::new(log)
    }

    /// A task that sends a service's facts on to what carries them, if something does.
    pub fn relay(&self, source: &Source, shutdown: &Shutdown) -> Option<Task> {
        #[cfg(feature = "kafka")]
        if let Some(kafka) = &self.kafka {
            let relay = crate::kafka::Relay::new(kafka.clone(), source.clone(), &self.consumers, shutdown.clone());
            let relay = Arc::new(relay);
            return Some(Task::telling(crate::kafka::RELAY, move |part| {
                let relay = Arc::clone(&relay);
                async move { relay.run(&part).await }
            }));
        }
        let _ = (source, shutdown);
        None
    }

    /// A task that lets a story follow its service, with its cursor in `log`.
    pub fn follow(&self, log: &EventLog, reaction: Arc<dyn Reaction>, shutdown: &Shutdown) -> Task {
        let (name, source) = (reaction.name(), self.of(reaction.service()));
        let follower = Arc::new(Follower::new(log.clone(), reaction, source, &self.consumers, shutdown.clone()));
        Task::telling(name, move |part| {
            let follower = Arc::clone(&follower);
            async move { follower.run(&part).await }
        })
    }

    /// Adds what answers others about the feeds and followers of this process.
    pub fn routes(&self, routes: &mut RoutesBuilder) {
        routes.add_service(FeedServiceServer::new(self.here.clone()));
        routes.add_service(ConsumerServiceServer::new(Desk::new(self.consumers.clone())));
    }
}

/// A service's facts, wherever it runs.
struct Somewhere {
    feeds: Feeds,
    service: &'static str,
}

impl FactSource for Somewhere {
    fn open<'a>(&'a self, cursor: &'a Cursor) -> BoxFuture<'a, Result<Opened, OpenError>> {
        Box::pin(async move {
            if let Some(source) = self.feeds.here.of(self.service) {
                return source.open(cursor).await;
            }
            match self.feeds.peers.by_name(self.service) {
                Some(peer) => Remote::new(self.service, peer.clone()).open(cursor).await,
                None => Err(OpenError::Away(format!("there is no service '{}'", self.service))),
            }
        })
    }
}
