//! The scaled form with a proxy between each process and the database.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use trialog_testkit::{Layout, Link, Proxy, Scaled};

/// Sweeps and models twice; what the check asks nothing of shares a process.
const LAYOUT: Layout = &[
    ("workspaces", &["front"]),
    ("compute", &["front"]),
    ("runs", &["runs"]),
    ("sweeps", &["sweeps-a", "sweeps-b"]),
    ("models", &["models-a", "models-b"]),
    ("gateway", &["gateway"]),
];

/// Everything that can be broken. What is used by others is dropped after them.
pub struct Stage {
    scaled: Scaled,
    pub proxies: BTreeMap<&'static str, Proxy>,
}

impl Stage {
    pub fn start() -> Self {
        let scaled = Scaled::new("history", LAYOUT);
        let socket = scaled.database.socket();
        let proxies: BTreeMap<_, _> = scaled.places.processes().map(|name| (name, Proxy::to_socket(&socket))).collect();
        let url = |name: &str| format!("postgres://trialog@127.0.0.1:{}/trialog?sslmode=disable", proxies[name].port());
        Self { scaled: scaled.started(url), proxies }
    }

    /// The process of a service that writes; the other one, where there is one, that stands by.
    pub fn process_of(&self, service: &str, is_standby: bool) -> &'static str {
        let mut names: Vec<&'static str> =
            self.servers.keys().copied().filter(|name| name.starts_with(service)).collect();
        names.sort_by_key(|name| self.servers[name].is_announced() == is_standby);
        names.first().expect("every service has a process")
    }

    /// Nothing is broken any more, and whoever asks is answered.
    pub fn heal(&mut self) {
        self.proxies.values().for_each(|proxy| proxy.set(Link::Through));
        self.await_ready();
    }
}

impl Deref for Stage {
    type Target = Scaled;

    fn deref(&self) -> &Scaled {
        &self.scaled
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut Scaled {
        &mut self.scaled
    }
}
