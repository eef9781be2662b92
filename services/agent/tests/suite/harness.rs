//! A node under test: fakes on a Unix socket, an agent that can be killed, and a look at the processes that are left.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use contracts::compute::agent_order::Order;
use contracts::compute::agent_service_server::AgentServiceServer;
use contracts::compute::{JobSpec, StartAttempt};
use contracts::runs::runs_service_server::RunsServiceServer;
use runtime::process::Identity;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio_stream::wrappers::UnixListenerStream;
use trialog_agent::AgentOptions;
use vocabulary::{Entropy, RunId, SeededEntropy};

use crate::fakes::Fake;

const FOLDER: &str = "TRIALOG_TEST_NODE";
const AWAY: &str = "TRIALOG_TEST_AWAY";
const SHIM_SERVER: &str = "TRIALOG_TEST_SHIM_SERVER";

/// The body of the agent's process.
pub fn agent_process() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    runtime::telemetry::start("info", runtime::telemetry::Format::Text);
    let command = |test: &str| {
        let mut command = vec![std::env::current_exe().unwrap().into_os_string()];
        command.extend(["--ignored", "--exact", test, "--nocapture", "--test-threads=1"].map(OsString::from));
        command
    };
    let options = AgentOptions {
        node_id: "node_test".into(),
        compute: format!("unix:{}", folder.join("socket").display()),
        compute_ca: None,
        folder: folder.join("node"),
        environments: folder.join("environments"),
        token: "secret".into(),
        away: std::env::var(AWAY).map_or(Duration::MAX, |seconds| Duration::from_secs_f64(seconds.parse().unwrap())),
        shim_command: command("shim_process"),
        shim_server_command: match std::env::var_os(SHIM_SERVER) {
            None => command("shim_server_process"),
            Some(program) => vec![program],
        },
        clock: Arc::new(runtime::MachineClock),
        entropy: Arc::new(runtime::MachineEntropy::default()),
        shutdown: runtime::Shutdown::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(trialog_agent::agent_main(options)).unwrap();
    std::process::exit(0);
}

/// A node and the servers that it talks to. Dropped, it leaves no process.
pub struct Node {
    pub fake: Fake,
    pub folder: PathBuf,
    pub run_id: String,
    /// Seconds that compute may stay away.
    pub away: Option<f64>,
    /// A program that plays the shim server.
    pub shim_server: Option<&'static str>,
    /// Where the agent's log goes, if not into the folder.
    pub log: Option<&'static str>,
    agent: Option<Child>,
    _temporary: tempfile::TempDir,
}

impl Node {
    /// With a running agent.
    pub async fn start() -> Self {
        let mut node = Self::without_agent().await;
        node.start_agent();
        node
    }

    pub async fn without_agent() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_owned();
        let socket = folder.join("socket");
        let fake = Fake::new(format!("unix:{}", socket.display()));
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let server =
            tonic::transport::Server::builder().add_service(AgentServiceServer::new(fake.clone())).add_service(
                RunsServiceServer::new(fake.clone()).max_decoding_message_size(contracts::peer::MESSAGE_BYTES_MAX),
            );
        tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
        // Differs in every test: leftovers are found by it.
        let seed = runtime::MachineEntropy::default().seed();
        let run_id = RunId::new(SeededEntropy::new(seed).uuid()).to_string();
        Self { fake, folder, run_id, away: None, shim_server: None, log: None, agent: None, _temporary: temporary }
    }

    pub fn start_agent(&mut self) {
        let log = self.log.map_or_else(|| self.folder.join("agent.log"), PathBuf::from);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "agent_process", "--nocapture", "--test-threads=1"])
            .env(FOLDER, &self.folder)
            .envs(self.away.iter().map(|away| (AWAY, away.to_string())))
            .envs(self.shim_server.map(|program| (SHIM_SERVER, program)))
            .env("TRIALOG_NODE_TOKEN", "secret")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.agent = Some(child);
    }

    /// kill -9.
    pub fn kill_agent(&mut self) {
        let mut child = self.agent.take().unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    pub fn agent_lives(&mut self) -> bool {
        self.agent.as_mut().is_some_and(|agent| agent.try_wait().unwrap().is_none())
    }

    /// Compute goes away.
    pub fn end_compute(&self) {
        self.fake.faults.lock().unwrap().gone = true;
        self.fake.hang_up();
    }

    /// Waits for an agent that goes by itself; its exit code.
    pub async fn agent_ends(&mut self) -> Option<i32> {
        let mut child = self.agent.take().unwrap();
        tokio::task::spawn_blocking(move || child.wait().unwrap().code()).await.unwrap()
    }

    pub fn attempt_folder(&self, job_id: &str) -> PathBuf {
        self.folder.join("node/jobs").join(job_id).join("1")
    }

    /// Bytes of the order as it lies on the disk, with the token.
    pub fn order_bytes(&self, job_id: &str) -> u64 {
        std::fs::metadata(self.attempt_folder(job_id).join("job.json")).map_or(0, |facts| facts.len())
    }

    pub fn spec(&self, script: &str) -> JobSpec {
        JobSpec { command: ["sh", "-c", script].map(str::to_owned).to_vec(), ..JobSpec::default() }
    }

    pub fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }

    pub async fn run(&self, job_id: &str, spec: JobSpec) {
        let order = StartAttempt {
            job_id: job_id.to_owned(),
            attempt: 1,
            workspace: "default".into(),
            run_id: self.run_id.clone(),
            spec: Some(spec),
            run_token: "run-secret".into(),
            checkpoint_folder: self.checkpoints().display().to_string(),
        };
        self.fake.order(Order::Start(order)).await;
    }

    /// Living processes that belong to this test's run.
    pub fn left(&self) -> Vec<i32> {
        let wanted = format!("TRIALOG_RUN_ID={}", self.run_id);
        pids(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
        })
    }

    /// Living shims of this node.
    pub fn shims(&self) -> Vec<i32> {
        let folder = self.folder.join("node/jobs").display().to_string();
        pids(|pid| {
            let argv = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&argv).contains(&folder)
        })
    }

    /// The process that has started a shim.
    pub fn parent_of_the_shim(&self, job_id: &str) -> Identity {
        let shim = std::fs::read(self.attempt_folder(job_id).join("shim.pid")).unwrap();
        let shim: Identity = serde_json::from_slice(&shim).unwrap();
        Identity::of(runtime::process::parent_of(shim.pid).unwrap()).unwrap()
    }

    /// The process that is the agent.
    pub fn agent_id(&self) -> i32 {
        i32::try_from(self.agent.as_ref().unwrap().id()).unwrap()
    }

    /// Nothing of the run may live any more; a killed process needs a moment to go.
    pub async fn assert_nothing_left(&self) {
        let gone = async {
            loop {
                let found = [self.left(), self.shims()].concat();
                if found.is_empty() {
                    return;
                }
                for process in found.into_iter().filter_map(Identity::of) {
                    process.ended().await.unwrap();
                }
                // A zombie has ended and is there until its parent asks.
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(2), gone).await;
        in_time.unwrap_or_else(|_| panic!("left: {:?}, shims: {:?}", self.left(), self.shims()));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        trialog_agent::kill_node(&self.folder.join("node"));
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.join("agent.log")).unwrap_or_default();
            eprintln!("agent.log:\n{log}");
        }
    }
}

fn pids(is_wanted: impl Fn(i32) -> bool) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    let all = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|pid| is_wanted(*pid)).collect()
}

/// How long a file may take to appear.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until a file is there: what is nearest above it and exists tells when something comes into it.
pub async fn appears(path: &Path) {
    let comes = async {
        while !path.exists() {
            let above = path.ancestors().skip(1).find(|above| above.is_dir()).unwrap();
            let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
            inotify::add_watch(&events, above, WatchFlags::CREATE | WatchFlags::MOVED_TO).unwrap();
            let next = path.strip_prefix(above).unwrap().iter().next().unwrap();
            // What came before the watch told nobody.
            if !above.join(next).exists() {
                drop(runtime::process::readable(events).unwrap().readable().await.unwrap());
            }
        }
    };
    tokio::time::timeout(PATIENCE, comes).await.unwrap_or_else(|_| panic!("{} never came", path.display()));
}
