//! A log that says things, and one that notes what it hears.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contracts::Peer;
use contracts::feed::Fact;
use contracts::feed::feed_service_server::FeedServiceServer;
use contracts::runs::RunReleased;
use eventlog::{BoxFuture, Context, EventLog};
use prost::Message;
use runtime::{Health, MachineEntropy, Part, Shutdown};
use trialog_feed::consumer::{Consumers, Follower};
use trialog_feed::source::Remote;
use trialog_feed::{FactSource, FeedServer, Place, ReactError, Reaction, Source};
use vocabulary::Entropy;

pub use crate::speech::{Said, Speaker, UNDECIDABLE, UNREADABLE, open};
use crate::speech::{Speech, source_of};

/// For anything to come about.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a fact says.
pub fn text(fact: &Fact) -> String {
    RunReleased::decode(fact.payload.as_slice()).unwrap().run_id
}

/// The log that is followed.
pub struct Talk {
    pub log: EventLog,
    pub source: Source,
    /// Its topic, when somebody has asked for it.
    #[cfg(feature = "kafka")]
    pub relayed: std::sync::OnceLock<crate::kafka::Relayed>,
}

impl Talk {
    pub async fn open(folder: &Path) -> Self {
        let log = open(folder, "talk").await;
        Self {
            source: source_of(&log, false),
            log,
            #[cfg(feature = "kafka")]
            relayed: std::sync::OnceLock::new(),
        }
    }

    /// A newer build of the service.
    pub fn upgrade(&mut self) {
        self.source = source_of(&self.log, true);
    }

    /// Says something in public; answers its position.
    pub async fn say(&self, stream: &str, text: &str) -> i64 {
        self.append(stream, vec![Said { text: text.to_owned(), public: true }]).await
    }

    pub async fn append(&self, stream: &str, said: Vec<Said>) -> i64 {
        let mut context = Context::new(MachineEntropy::default().uuid(), "speaker", "req_1");
        context.causation = Some("somebody@1:7".to_owned());
        self.log.execute::<Speaker>(stream, said, context).await.unwrap().position
    }
}

/// The facts of a log behind `FeedService`.
pub fn through_server(talk: &Talk) -> Arc<dyn FactSource> {
    Arc::new(Remote::new("talk", peer(talk)))
}

/// The feed service of a process that has this log.
pub fn peer(talk: &Talk) -> Peer {
    let server = FeedServer::new();
    server.add("talk", talk.source.clone());
    let mut routes = tonic::service::RoutesBuilder::default();
    routes.add_service(FeedServiceServer::new(server));
    let peer = Peer::deferred();
    peer.connect_routes(routes.routes());
    peer
}

/// What a listener makes of a text, as often as it says; then it notes it.
#[derive(Clone, Debug)]
pub enum Trouble {
    Fails(ReactError, u32),
    Panics(u32),
}

/// Notes what it hears, a lane a stream, once.
pub struct Listener {
    pub log: EventLog,
    pub troubles: Mutex<HashMap<String, Trouble>>,
}

impl Listener {
    pub fn new(log: &EventLog) -> Arc<Self> {
        Arc::new(Self { log: log.clone(), troubles: Mutex::default() })
    }

    pub fn trouble(&self, text: &str, trouble: Trouble) {
        self.troubles.lock().unwrap().insert(text.to_owned(), trouble);
    }

    pub fn heal(&self, text: &str) {
        self.troubles.lock().unwrap().remove(text);
    }

    fn react(&self, text: &str) -> Result<(), ReactError> {
        let mut troubles = self.troubles.lock().unwrap();
        match troubles.get_mut(text) {
            Some(Trouble::Fails(error, times)) if *times > 0 => {
                *times -= 1;
                Err(error.clone())
            }
            Some(Trouble::Panics(times)) if *times > 0 => {
                *times -= 1;
                drop(troubles);
                panic!("as it should")
            }
            _ => Ok(()),
        }
    }
}

impl Reaction for Listener {
    fn name(&self) -> &'static str {
        "listen"
    }

    fn service(&self) -> &'static str {
        "talk"
    }

    fn place(&self, fact: &Fact) -> Place {
        Place { lane: fact.stream.clone(), is_urgent: !text(fact).starts_with("later") }
    }

    fn handle<'a>(&'a self, fact: &'a Fact) -> BoxFuture<'a, Result<(), ReactError>> {
        Box::pin(async move {
            let text = text(fact);
            self.react(&text)?;
            let id = eventlog::command_id(&fact.source, fact.position, self.name());
            let said = vec![Said { text, public: false }];
            let done = self.log.execute::<Speaker>(&fact.stream, said, Context::new(id, "listener", "")).await;
            done.map(drop).map_err(|error| ReactError::from(error.into_problem(|never| match never {})))
        })
    }
}

/// Texts by stream.
pub type Noted = BTreeMap<String, Vec<String>>;

/// What was noted, by stream, in order.
pub async fn noted(log: &EventLog) -> Noted {
    let mut noted = Noted::new();
    let mut from = 0;
    loop {
        let page = log.read(from, 1000).await.unwrap();
        let Some(last) = page.last() else { return noted };
        from = last.position;
        for event in &page {
            let Speech::Said(said) = event.decode().unwrap();
            noted.entry(event.stream.clone()).or_default().push(said.text);
        }
    }
}

/// Waits until what was noted is so: looked at again when something was appended.
pub async fn until_noted(what: &str, log: &EventLog, mut holds: impl FnMut(&Noted) -> bool) {
    let mut head = log.head();
    let waited = async {
        loop {
            head.borrow_and_update();
            if holds(&noted(log).await) {
                return;
            }
            head.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap_or_else(|_| panic!("it did not come to: {what}"));
}

/// Waits until something holds of which nobody tells: rows without events, and how a follower stands.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    testkit::await_that_async(PATIENCE, async || if holds().await { Ok(()) } else { Err(what) }).await;
}

/// A follower under way.
pub struct Following {
    pub shutdown: Shutdown,
    pub health: Health,
    pub consumers: Consumers,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Following {
    pub fn begin(listener: &Arc<Listener>, source: Arc<dyn FactSource>) -> Self {
        Self::begin_with(listener, source, |follower| follower)
    }

    /// With a follower as `set` makes it.
    pub fn begin_with(
        listener: &Arc<Listener>,
        source: Arc<dyn FactSource>,
        set: impl FnOnce(Follower) -> Follower,
    ) -> Self {
        let (shutdown, health, consumers) = (Shutdown::new(), Health::new(), Consumers::default());
        let reaction: Arc<dyn Reaction> = Arc::clone(listener) as _;
        let follower = set(Follower::new(listener.log.clone(), reaction, source, &consumers, shutdown.clone()));
        let part: Part = health.part("ear", "listen");
        // Like its supervisor: begun again when the feed breaks off.
        let end = shutdown.clone();
        let task = tokio::spawn(async move {
            while !end.is_requested() {
                if let Err(error) = follower.run(&part).await {
                    part.failed(&error.to_string());
                    tokio::task::yield_now().await;
                }
            }
            Ok(())
        });
        Self { shutdown, health, consumers, task }
    }

    /// Ends it in order, its cursor saved.
    pub async fn stop(self) {
        self.shutdown.request();
        self.task.await.unwrap().unwrap();
    }

    /// Ends it as a power failure would: whatever it did not store is lost.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
