//! What is killed: processes, a database and a broker of the test's own.

use std::collections::BTreeMap;
use std::time::Duration;

use trialog_testkit::{Broker, Client, Database, Layout, Places, Sent, Server, await_that, kafka, processes_of};

const LAYOUT: Layout = &[
    ("workspaces", &["workspaces"]),
    ("runs", &["runs"]),
    ("sweeps", &["sweeps-a", "sweeps-b"]),
    ("models", &["models-a", "models-b"]),
    ("compute", &["compute"]),
    ("gateway", &["gateway"]),
];
/// How long everybody may take to be ready when nothing is broken any more: a busy machine needs a third of it.
const READY_PATIENCE: Duration = Duration::from_secs(90);
/// Who is started once the others write.
const STANDBYS: [&str; 2] = ["sweeps-b", "models-b"];

/// What is used by others is dropped after them.
pub struct Stage {
    pub servers: BTreeMap<&'static str, Server>,
    pub places: Places,
    pub broker: Option<Broker>,
    pub database: Database,
    _outside: tempfile::TempDir,
}

impl Stage {
    pub fn start() -> Self {
        // Beside the home, whose owner's secrets others must not read: a server does not run as root.
        let outside = tempfile::Builder::new().prefix("trialog-torture-").tempdir_in("/tmp").expect("a folder");
        let database = Database::start(outside.path());
        let broker = kafka().map(|_| Broker::start(outside.path()));
        let mut text = format!("[store]\nurl = {:?}\n", database.url());
        if let Some(broker) = &broker {
            text += &format!("[feed.kafka]\nbootstrap = {:?}\npartitions = 3\n", broker.servers);
        }
        let places = Places::new(LAYOUT).configured(&text);
        let mut servers: BTreeMap<_, _> = places
            .processes()
            .filter(|name| !STANDBYS.contains(name) && *name != "gateway")
            .map(|name| (name, Server::launch(places.options(name))))
            .collect();
        servers.values_mut().for_each(Server::await_ready);
        servers.extend(STANDBYS.map(|name| (name, Server::launch(places.options(name)))));
        servers.insert("gateway", places.start("gateway"));
        Self { servers, places, broker, database, _outside: outside }
    }

    pub fn client(&self) -> Client {
        self.servers["gateway"].client_with(&self.servers["workspaces"].token())
    }

    /// Starts again whoever has ended by itself, as what keeps processes does.
    pub fn revive(&mut self) {
        for server in self.servers.values_mut() {
            if server.pid().is_none() || server.await_end(Duration::ZERO).is_some() {
                server.begin();
            }
        }
    }

    /// Ends everything in order, the door first; nothing is left.
    pub fn stop(&mut self) {
        let client = self.client();
        await_that(READY_PATIENCE, || {
            self.revive();
            match client.request("GET", "/readyz").send_within(Duration::ZERO) {
                Sent::Answered(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("not everybody is ready: {other:?}")),
            }
        });
        for name in ["gateway", "sweeps-b", "models-b", "compute", "sweeps-a", "models-a", "runs", "workspaces"] {
            let server = self.servers.get_mut(name).expect("it is one of them");
            // Who does not write may be in the middle of its start, in which it cannot be asked to end yet.
            if server.is_announced() { server.stop() } else { server.kill() }
        }
        let left = processes_of(self.places.home().path());
        assert!(left.is_empty(), "left over: {left:#?}");
    }

    /// What must be in no log, event or answer.
    pub fn secrets(&self) -> Vec<String> {
        let kept = ["token", "signing.key", "workspaces/admin.token"];
        let read = |name: &str| std::fs::read_to_string(self.places.home().join(name)).expect("a secret");
        kept.iter().map(|name| read(name).trim().to_owned()).collect()
    }

    /// The logs of the processes.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let name = |process: &str| format!("{process}.log");
        let read = |process| {
            let bytes = std::fs::read(self.places.home().join(&name(process))).unwrap_or_default();
            (name(process), String::from_utf8_lossy(&bytes).into_owned())
        };
        self.servers.keys().map(|process| read(process)).collect()
    }
}
