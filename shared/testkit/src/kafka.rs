//! The Kafka of tests that need one: `TRIALOG_TEST_KAFKA`, which `make test` starts, and brokers of a test's own, which
//! can be killed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::required::missing;

/// Its bootstrap servers; `None` where there are none and they are not required.
///
/// # Panics
/// When there are none and `TRIALOG_REQUIRE` names `kafka`.
pub fn kafka() -> Option<String> {
    let found = std::env::var("TRIALOG_TEST_KAFKA").ok().filter(|servers| !servers.is_empty());
    if found.is_none() {
        missing(
            "kafka",
            "TRIALOG_TEST_KAFKA names no brokers: make test starts one where Java and Maven are installed (apt-get \
             install openjdk-17-jre-headless maven)",
        );
    }
    found
}

/// A broker of a test's own, or three of them. They end, and their data goes, when it is dropped.
pub struct Broker {
    folder: PathBuf,
    nodes: u32,
    /// The bootstrap servers.
    pub servers: String,
}

impl Broker {
    /// Starts one, with its data in a folder.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, 1, &[])
    }

    /// Starts three, which have each other's records.
    ///
    /// # Panics
    /// When they do not start.
    pub fn start_three(folder: &Path) -> Self {
        Self::start_with(folder, 3, &["--nodes", "3"])
    }

    /// Starts one that also listens with TLS and SCRAM. `secure` in its folder says how it is reached so.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_secure(folder: &Path) -> Self {
        Self::start_with(folder, 1, &["--secure"])
    }

    fn start_with(folder: &Path, nodes: u32, words: &[&str]) -> Self {
        let folder = folder.join("kafka");
        let words = words.iter().map(|word| std::ffi::OsStr::new(*word));
        let up = ["up".as_ref(), folder.as_os_str()].into_iter().chain(words);
        let servers = run(up).trim().to_owned();
        Self { folder, nodes, servers }
    }

    /// A file that says how it is reached with TLS: `servers`, `ca.pem`, `user`, `password`.
    pub fn secure(&self, name: &str) -> PathBuf {
        self.folder.join("secure").join(name)
    }

    /// Ends it as a power failure of its machine would, but for the disk.
    pub fn kill(&self) {
        self.kill_node(1);
    }

    /// Starts it again, with the data that it had.
    pub fn restart(&self) {
        self.restart_node(1);
    }

    /// Ends one of them so.
    pub fn kill_node(&self, node: u32) {
        self.fault(node, "kill");
    }

    /// Starts that one again.
    pub fn restart_node(&self, node: u32) {
        self.fault(node, "start");
    }

    /// Every record of a topic, a line each: partition, offset and headers, with tabs between. Nothing where there is
    /// no such topic.
    ///
    /// # Panics
    /// When Kafka's own tool cannot be run.
    pub fn records(&self, topic: &str) -> String {
        let mut command = Command::new(program());
        command.arg("tool").arg(&self.folder).args(["consume", "--topic", topic, "--from-beginning"]);
        // It ends when nothing has come for so long.
        command.args(["--timeout-ms", "5000"]);
        for (property, value) in
            [("headers", true), ("partition", true), ("offset", true), ("value", false), ("key", false)]
        {
            command.args(["--formatter-property", &format!("print.{property}={value}")]);
        }
        let output = command.output().expect("kafka-dev");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn fault(&self, node: u32, fault: &str) {
        run(["node".as_ref(), self.folder.as_os_str(), node.to_string().as_ref(), fault.as_ref()]);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        for node in 1..=self.nodes {
            // It may have been killed already.
            drop(Command::new(program()).arg("node").arg(&self.folder).args([&node.to_string(), "kill"]).output());
        }
    }
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kafka-dev/kafka-dev")
}

fn run<'a>(arguments: impl IntoIterator<Item = &'a std::ffi::OsStr>) -> String {
    let output = Command::new(program()).args(arguments).output().expect("kafka-dev");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kafka-dev: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
