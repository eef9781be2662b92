//! The processes on a node: its agent, the shim of a job, and the server that forks shims.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use runtime::{MachineClock, MachineEntropy, Shutdown};

/// How compute starts an agent.
#[derive(clap::Args)]
pub struct AgentArguments {
    /// The node's id.
    #[arg(long)]
    node: String,
    /// The node's folder.
    #[arg(long)]
    folder: PathBuf,
    /// Where Python environments are kept; several nodes may share it. `environments` in the node's folder by default.
    #[arg(long)]
    environments: Option<PathBuf>,
    /// Where compute listens: unix:PATH, http://HOST:PORT or https://HOST:PORT.
    #[arg(long)]
    compute: String,
    /// A PEM file with the authority of compute's certificate, with https.
    #[arg(long)]
    compute_ca: Option<PathBuf>,
    /// How long compute may stay away before the agent ends, once nothing runs on the node.
    #[arg(long, default_value_t = 600.0)]
    away_seconds: f64,
}

/// The word that makes the binary a shim.
const SHIM: &str = "shim";

/// The word that makes the binary a shim server.
const SHIM_SERVER: &str = "shim-server";

/// How an agent starts a shim, which runs one job.
#[derive(clap::Parser)]
#[command(name = "trialog shim")]
pub struct ShimArguments {
    /// The attempt's folder.
    folder: PathBuf,
}

/// Runs an agent until it is told to leave.
pub async fn agent(arguments: AgentArguments) -> anyhow::Result<()> {
    runtime::telemetry::start("info", runtime::telemetry::Format::Text);
    let shutdown = Shutdown::new();
    shutdown.watch_signals()?;
    // In the environment, not in argv: other users of the machine can read argv.
    let token = std::env::var("TRIALOG_NODE_TOKEN").unwrap_or_default();
    let program = std::env::current_exe()?.into_os_string();
    let folder = std::path::absolute(&arguments.folder)?;
    let compute_ca = match &arguments.compute_ca {
        Some(path) => Some(std::fs::read_to_string(path).with_context(|| format!("--compute-ca {}", path.display()))?),
        None => None,
    };
    agent::agent_main(agent::AgentOptions {
        node_id: arguments.node,
        environments: arguments.environments.unwrap_or_else(|| folder.join("environments")),
        compute: arguments.compute,
        compute_ca,
        token,
        away: Duration::try_from_secs_f64(arguments.away_seconds)?,
        shim_command: vec![program.clone(), SHIM.into()],
        // Its command line names the node, and is long enough to become that of a shim.
        shim_server_command: vec![program, SHIM_SERVER.into(), folder.clone().into_os_string()],
        folder,
        clock: Arc::new(MachineClock),
        entropy: Arc::new(MachineEntropy::default()),
        shutdown,
    })
    .await
}

/// Whether this is to be a shim server. Its other words are for people who look at the processes.
pub fn is_shim_server(mut words: impl Iterator<Item = OsString>) -> bool {
    words.nth(1).is_some_and(|word| word == SHIM_SERVER)
}

/// Forks shims until the agent that has started it is gone.
pub fn shim_server() -> ExitCode {
    agent::shim_server_main()
}

/// What a shim is to do, if this is to be one.
pub fn shim_arguments(words: impl Iterator<Item = OsString>) -> Option<ShimArguments> {
    let mut words = words.skip(1).peekable();
    words.next_if(|word| word == SHIM)?;
    Some(ShimArguments::parse_from(std::iter::once(SHIM.into()).chain(words)))
}

/// Runs a job.
pub fn shim(arguments: &ShimArguments) -> ExitCode {
    agent::shim_main(&arguments.folder)
}
