//! A server process that can be killed, started again and stopped.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::patience::await_that;
use crate::processes;
use crate::{Client, Home};

/// How long a start may take: a debug build on a busy machine is ready within 2 s.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long a stop may take before it counts as hanging.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// The binary under test: `TRIALOG`, else the debug build of this workspace.
pub fn binary() -> PathBuf {
    match std::env::var_os("TRIALOG") {
        Some(path) => PathBuf::from(path),
        None => {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
            let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
            target.join("debug/trialog")
        }
    }
}

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data folder.
    pub data: PathBuf,
    /// The program.
    pub binary: PathBuf,
    /// Its arguments, without the data folder.
    pub words: Vec<String>,
    /// Whether it has the REST interface, so that readiness can be asked for.
    pub has_door: bool,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Options {
    /// `trialog up` on a port of the system's choice, with the data folder `d` and the log `up.log` in the home.
    pub fn up(home: &Home) -> Self {
        let words = ["up", "--listen", "127.0.0.1:0"].map(str::to_owned).to_vec();
        Self { data: home.join("d"), binary: binary(), words, has_door: true, log: home.join("up.log") }
    }

    /// `trialog serve --services …` with the data folder and the log named after `name`.
    pub fn serve(home: &Home, name: &str, services: &str) -> Self {
        let words = ["serve", "--services", services].map(str::to_owned).to_vec();
        let has_door = services.split(',').any(|service| service == "gateway");
        Self { data: home.join(name), binary: binary(), words, has_door, log: home.join(&format!("{name}.log")) }
    }

    /// Adds arguments.
    #[must_use]
    pub fn with(mut self, words: &[&str]) -> Self {
        self.words.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    fn spawn(&self) -> Child {
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.unwrap_or_else(|error| panic!("{}: {error}", self.log.display()));
        let errors = log.try_clone().expect("a second handle of an open file");
        Command::new(&self.binary)
            .args(&self.words)
            .arg("--data")
            .arg(&self.data)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{}: {error}; build it with `cargo build -p trialog`", self.binary.display())
            })
    }
}

/// A running server. Dropping it kills it; its nodes and jobs go with the [`Home`].
#[derive(Debug)]
pub struct Server {
    options: Options,
    child: Option<Child>,
}

impl Server {
    /// Starts a server and waits until it is ready.
    ///
    /// # Panics
    /// When it ends instead, or is not ready in time.
    pub fn start(options: Options) -> Self {
        let mut server = Self { options, child: None };
        server.restart();
        server
    }

    /// Starts a server and waits for nothing: one that stands by announces itself when it has taken over.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn launch(options: Options) -> Self {
        let mut server = Self { options, child: None };
        server.begin();
        server
    }

    /// Starts a server and waits until it has announced itself, whether or not it is ready.
    ///
    /// # Panics
    /// When it ends instead, or does not announce itself in time.
    pub fn begin_with(options: Options) -> Self {
        let mut server = Self { options: Options { has_door: false, ..options }, child: None };
        server.restart();
        server
    }

    /// Starts it again, killing it before if it lives, and waits until it is ready.
    ///
    /// # Panics
    /// When it ends instead, or is not ready in time.
    pub fn restart(&mut self) {
        self.begin();
        self.await_ready();
    }

    /// Starts it again, killing it before if it lives, without waiting for anything.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn begin(&mut self) {
        self.kill();
        self.child = Some(self.options.spawn());
    }

    /// Waits until it has announced itself and, where it has the REST interface, says that it is ready.
    ///
    /// # Panics
    /// When it ends instead, or is not ready in time.
    pub fn await_ready(&mut self) {
        await_that(START_PATIENCE, || {
            let child = self.child.as_mut().expect("the server was started");
            if let Ok(Some(status)) = child.try_wait() {
                panic!("the server ended with {status} instead of getting ready: {}", self.options.words.join(" "));
            }
            let pid = child.id();
            match announced(&self.options.data).filter(|(announced, _)| *announced == u64::from(pid)) {
                Some(_) if !self.options.has_door => Ok(()),
                Some((_, url)) => self.ask_ready(&url).map_err(|why| format!("the server is not ready: {why}")),
                None => Err("the server has not announced itself".to_owned()),
            }
        });
    }

    fn ask_ready(&self, url: &str) -> Result<(), String> {
        let http = crate::client::http().build().map_err(|error| error.to_string())?;
        let answer = http.get(format!("{url}/readyz")).send().map_err(|error| error.to_string())?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("{status}: {}", answer.text().unwrap_or_default())) }
    }

    /// A client with the admin's token.
    ///
    /// # Panics
    /// When the data folder has no token.
    pub fn client(&self) -> Client {
        Client::of_data(&self.options.data, &self.token())
    }

    /// A client with a token of its caller's: another process keeps the admin's.
    pub fn client_with(&self, token: &str) -> Client {
        Client::of_data(&self.options.data, token)
    }

    /// Where its REST interface is.
    ///
    /// # Panics
    /// When it has not announced itself.
    pub fn url(&self) -> String {
        announced(&self.options.data).expect("a ready server has announced itself").1
    }

    /// The admin's token.
    ///
    /// # Panics
    /// When the data folder has none.
    pub fn token(&self) -> String {
        let path = self.options.data.join("admin.token");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.trim().to_owned()
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.options.data
    }

    /// Its process id while it lives.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it has announced itself: a process that stands by has not.
    pub fn is_announced(&self) -> bool {
        announced(&self.options.data).is_some_and(|(pid, _)| self.pid().is_some_and(|own| u64::from(own) == pid))
    }

    /// Lets it stand still, as a machine that swaps or a paused virtual one does; `false` lets it go on.
    ///
    /// # Panics
    /// When it does not live.
    pub fn freeze(&self, stands_still: bool) {
        processes::freeze(self.pid().expect("it lives"), stands_still);
    }

    /// Kills it as a power failure would: SIGKILL, no warning.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits until it has ended by itself; `None` when it still lives after `patience`.
    ///
    /// # Panics
    /// When it was not started.
    pub fn await_end(&mut self, patience: Duration) -> Option<ExitStatus> {
        let child = self.child.as_mut().expect("the server was started");
        let pid = i32::try_from(child.id()).expect("a process id");
        let status = processes::await_end(pid, patience).then(|| child.wait().expect("the end of a child"));
        status.inspect(|_| self.child = None)
    }

    /// Asks it to end and waits.
    ///
    /// # Panics
    /// When it does not end in time, or with a failure.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if let Some(pid) = Pid::from_raw(i32::try_from(child.id()).unwrap_or_default()) {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
            if !processes::await_end(pid.as_raw_pid(), STOP_PATIENCE) {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the server did not end within {} s of SIGTERM", STOP_PATIENCE.as_secs());
            }
        }
        let status: ExitStatus = child.wait().expect("a child can be waited for");
        assert!(status.success(), "the server ended with {status} when asked to end");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Pid and address in a data folder's announcement.
pub(crate) fn announced(data: &Path) -> Option<(u64, String)> {
    let text = fs::read_to_string(data.join("run/server.json")).ok()?;
    let facts: Value = serde_json::from_str(&text).ok()?;
    Some((facts.get("pid")?.as_u64()?, facts.get("url")?.as_str()?.to_owned()))
}
