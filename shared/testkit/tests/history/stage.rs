//! The scaled form with a proxy between each process and the database.

use std::collections::BTreeMap;
use std::time::Duration;

use trialog_testkit::{Broker, Client, Database, Layout, Link, Places, Proxy, Sent, Server, await_that, kafka};

/// Sweeps and models twice; what the check asks nothing of shares a process.
const LAYOUT: Layout = &[
    ("workspaces", &["front"]),
    ("compute", &["front"]),
    ("runs", &["runs"]),
    ("sweeps", &["sweeps-a", "sweeps-b"]),
    ("models", &["models-a", "models-b"]),
    ("gateway", &["gateway"]),
];
/// How long everybody may take to be ready when nothing is broken any more: a busy machine needs a third of it.
const READY_PATIENCE: Duration = Duration::from_secs(90);
/// Who is started once the others write.
const STANDBYS: [&str; 2] = ["sweeps-b", "models-b"];

/// Everything that can be broken. What is used by others is dropped after them.
pub struct Stage {
    pub servers: BTreeMap<&'static str, Server>,
    pub places: Places,
    pub proxies: BTreeMap<&'static str, Proxy>,
    pub broker: Option<Broker>,
    pub database: Database,
    _outside: tempfile::TempDir,
}

impl Stage {
    pub fn start() -> Self {
        // Beside the home, whose owner's secrets others must not read: a server does not run as root.
        let outside = tempfile::Builder::new().prefix("trialog-history-").tempdir_in("/tmp").expect("a folder");
        let database = Database::start(outside.path());
        let broker = kafka().map(|_| Broker::start(outside.path()));
        let places = Places::new(LAYOUT);
        let proxies: BTreeMap<_, _> =
            places.processes().map(|name| (name, Proxy::to_socket(&database.socket()))).collect();
        let places = places.configured_each(|name| {
            let url = format!("postgres://trialog@127.0.0.1:{}/trialog?sslmode=disable", proxies[name].port());
            let store = format!("[store]\nurl = {url:?}\n");
            let feed = broker
                .as_ref()
                .map(|broker| format!("[feed.kafka]\nbootstrap = {:?}\npartitions = 3\n", broker.servers));
            store + &feed.unwrap_or_default()
        });
        let mut servers: BTreeMap<_, _> = places
            .processes()
            .filter(|name| !STANDBYS.contains(name) && *name != "gateway")
            .map(|name| (name, Server::launch(places.options(name))))
            .collect();
        servers.values_mut().for_each(Server::await_ready);
        servers.extend(STANDBYS.map(|name| (name, Server::launch(places.options(name)))));
        servers.insert("gateway", places.start("gateway"));
        Self { servers, places, proxies, broker, database, _outside: outside }
    }

    pub fn client(&self) -> Client {
        self.servers["gateway"].client_with(&self.servers["front"].token())
    }

    /// The process of a service that writes; the other one, where there is one, that stands by.
    pub fn process_of(&self, service: &str, is_standby: bool) -> &'static str {
        let mut names: Vec<&'static str> =
            self.servers.keys().copied().filter(|name| name.starts_with(service)).collect();
        names.sort_by_key(|name| self.servers[name].is_announced() == is_standby);
        names.first().expect("every service has a process")
    }

    /// Starts again whoever has ended by itself: a writer that was deposed does. How many.
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

    /// Nothing is broken any more, and whoever asks is answered.
    pub fn heal(&mut self) {
        self.proxies.values().for_each(|proxy| proxy.set(Link::Through));
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
