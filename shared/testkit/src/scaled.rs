//! The scaled form: every process of a layout, with a database and a broker of their own, all of which can be killed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Broker, Client, Database, Layout, Places, Sent, Server, await_that, kafka};

/// How long everybody may take to be ready when nothing is broken any more: a busy machine needs a third of it.
const READY_PATIENCE: Duration = Duration::from_secs(90);

/// Everything that can be broken. What is used by others is dropped after them.
pub struct Scaled {
    /// The processes by name.
    pub servers: BTreeMap<&'static str, Server>,
    /// Where they are.
    pub places: Places,
    /// Their Kafka, where tests have one.
    pub broker: Option<Broker>,
    /// Their PostgreSQL.
    pub database: Database,
    layout: Layout,
    _outside: tempfile::TempDir,
}

impl Scaled {
    /// Starts a database and a broker for a layout, and none of its processes. `name` is the test's.
    ///
    /// # Panics
    /// When one does not start.
    pub fn new(name: &str, layout: Layout) -> Self {
        // Beside the home, whose owner's secrets others must not read: a server does not run as root.
        let outside = tempfile::Builder::new().prefix(&format!("trialog-{name}-")).tempdir_in("/tmp");
        let outside = outside.expect("a folder");
        let database = Database::start(outside.path());
        let broker = kafka().map(|_| Broker::start(outside.path()));
        Self { servers: BTreeMap::new(), places: Places::new(layout), broker, database, layout, _outside: outside }
    }

    /// Starts its processes, each of which reaches the database by this URL: first who writes, then who stands by.
    ///
    /// # Panics
    /// When one does not get ready.
    #[must_use]
    pub fn started(self, url_of: impl Fn(&str) -> String) -> Self {
        let feed = |broker: &Broker| format!("[feed.kafka]\nbootstrap = {:?}\npartitions = 3\n", broker.servers);
        let feed = self.broker.as_ref().map(feed).unwrap_or_default();
        let layout = self.layout;
        let places = self.places.configured_each(|name| format!("[store]\nurl = {:?}\n{feed}", url_of(name)));
        let standbys = || layout.iter().flat_map(|(_, names)| names.iter().skip(1).copied());
        let doors = layout.iter().filter(|(service, _)| *service == "gateway").flat_map(|(_, names)| *names);
        let doors: Vec<&'static str> = doors.copied().collect();
        let mut servers: BTreeMap<_, _> = places
            .processes()
            .filter(|name| !standbys().any(|standby| standby == *name) && !doors.contains(name))
            .map(|name| (name, Server::launch(places.options(name))))
            .collect();
        servers.values_mut().for_each(Server::await_ready);
        servers.extend(standbys().map(|name| (name, Server::launch(places.options(name)))));
        servers.extend(doors.iter().map(|name| (*name, places.start(name))));
        Self { servers, places, ..self }
    }

    fn first_of(&self, service: &str) -> &'static str {
        let found = self.layout.iter().find(|(name, _)| *name == service).and_then(|(_, names)| names.first());
        found.unwrap_or_else(|| panic!("{service} has no process"))
    }

    /// Asks through the front door, as its admin.
    ///
    /// # Panics
    /// When there is none, or nobody has the admin's token.
    pub fn client(&self) -> Client {
        let token = self.servers[self.first_of("workspaces")].token();
        self.servers[self.first_of("gateway")].client_with(&token)
    }

    /// Starts again whoever has ended by itself, as what keeps processes does: a writer that was deposed ends. How
    /// many.
    ///
    /// # Panics
    /// When one cannot be started.
    pub fn revive(&mut self) -> u64 {
        let mut revived = 0;
        for server in self.servers.values_mut() {
            if server.pid().is_none() || server.await_end(Duration::ZERO).is_some() {
                server.begin();
                revived += 1;
            }
        }
        revived
    }

    /// Waits until whoever asks is answered; whoever ends meanwhile is started again.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn await_ready(&mut self) {
        let client = self.client();
        await_that(READY_PATIENCE, || {
            self.revive();
            match client.request("GET", "/readyz").send_within(Duration::ZERO) {
                Sent::Answered(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("not everybody is ready: {other:?}")),
            }
        });
    }
}
