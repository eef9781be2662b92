//! An installation whose services run in several processes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::{Home, Options, Server};

/// Every service and its processes, of which one writes.
pub type Layout = &'static [(&'static str, &'static [&'static str])];

/// Where each process of a layout is, and what all of them share.
#[derive(Debug)]
pub struct Places {
    home: Home,
    layout: Layout,
    token: String,
    key: String,
    /// Configurations by process; none: files in each data folder.
    configs: BTreeMap<&'static str, String>,
    /// Where each process listens for gRPC, and the gateway for REST.
    ports: BTreeMap<&'static str, u16>,
    http: u16,
}

impl Places {
    /// Places for a layout, whose databases are files.
    ///
    /// # Panics
    /// When the machine has no port left.
    pub fn new(layout: Layout) -> Self {
        let home = Home::new();
        let key = home.write("signing.key", &"5a".repeat(32)).display().to_string();
        let token = home.write("token", "a secret of this installation").display().to_string();
        let ports = layout.iter().flat_map(|(_, names)| *names).map(|name| (*name, free_port())).collect();
        Self { home, layout, token, key, configs: BTreeMap::new(), ports, http: free_port() }
    }

    /// The same with the text of a configuration for all processes.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn configured(self, text: &str) -> Self {
        self.configured_each(|_| text.to_owned())
    }

    /// The same with a text for each of them.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn configured_each(mut self, text_of: impl Fn(&str) -> String) -> Self {
        let written = |name: &&'static str| {
            let path = self.home.write(&format!("{name}.toml"), &text_of(name));
            (*name, path.display().to_string())
        };
        self.configs = self.ports.keys().map(written).collect();
        self
    }

    /// The names of its processes.
    pub fn processes(&self) -> impl Iterator<Item = &'static str> {
        self.ports.keys().copied()
    }

    /// The same with another signing key.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn options_with_key(&self, process: &str, key: &str) -> Options {
        let file = self.home.write(&format!("{process}.key"), key).display().to_string();
        self.options_of(process, &file)
    }

    /// How a process is started.
    pub fn options(&self, process: &str) -> Options {
        self.options_of(process, &self.key)
    }

    fn options_of(&self, process: &str, key: &str) -> Options {
        let is_here = |names: &[&str]| names.contains(&process);
        let here = self.layout.iter().filter(|(_, names)| is_here(names)).map(|(service, _)| *service);
        let here: Vec<&str> = here.collect();
        let mut options = Options::serve(&self.home, process, &here.join(","));
        options = options.with(&["--signing-key-file", key, "--token-file", &self.token]);
        options = options.with(&["--listen", &self.listen(process)]);
        if let Some(config) = self.configs.get(process) {
            options = options.with(&["--config", config]);
        }
        for (service, names) in self.layout.iter().filter(|(_, names)| !is_here(names)) {
            let addresses: Vec<String> = match *service {
                "gateway" => vec![format!("http://127.0.0.1:{}", self.http)],
                _ => names.iter().map(|name| format!("http://{}", self.listen(name))).collect(),
            };
            options = options.with(&["--peer", &format!("{service}={}", addresses.join(","))]);
        }
        if here.contains(&"gateway") { options.with(&["--http", &format!("127.0.0.1:{}", self.http)]) } else { options }
    }

    /// How another front door is started, which asks one process alone for what that has, whether it writes or stands
    /// by.
    ///
    /// # Panics
    /// When a service of the layout has no process.
    pub fn door_to(&self, process: &str) -> Options {
        let mut options = Options::serve(&self.home, &format!("door-{process}"), "gateway");
        options =
            options.with(&["--signing-key-file", &self.key, "--token-file", &self.token, "--http", "127.0.0.1:0"]);
        for (service, names) in self.layout.iter().filter(|(service, _)| *service != "gateway") {
            let asked = names.iter().find(|name| **name == process).or(names.first()).expect("a service has a process");
            options = options.with(&["--peer", &format!("{service}=http://{}", self.listen(asked))]);
        }
        match self.configs.get(process) {
            Some(config) => options.with(&["--config", config]),
            None => options,
        }
    }

    fn listen(&self, process: &str) -> String {
        format!("127.0.0.1:{}", self.ports[process])
    }

    /// Starts a process and waits until it has announced itself, and is ready where it has the REST interface.
    ///
    /// # Panics
    /// See [`Server::start`].
    pub fn start(&self, process: &str) -> Server {
        Server::start(self.options(process))
    }

    /// What all of them lie in.
    pub fn home(&self) -> &Home {
        &self.home
    }
}

/// Ports below those that machines give to outgoing connections (from 32,768 on): one of those may be gone before it is
/// listened on.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// A port that is free, and that nobody is given unasked: processes must know each other's addresses before they run.
///
/// # Panics
/// When the machine has none left.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.len();
    // Programs that run beside each other begin at different places.
    let first = usize::try_from(std::process::id()).unwrap_or_default().wrapping_mul(61);
    let candidate = || {
        let place = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed).into()) % count;
        PORTS.start + u16::try_from(place).expect("a port")
    };
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(candidate).take(count).find(is_free).expect("a free port")
}
