//! The two processes on a node: its agent, and the shim of a job.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

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
    /// Where compute listens: unix:PATH or http://HOST:PORT.
    #[arg(long)]
    compute: String,
    /// How long compute may stay away before the agent ends, once nothing runs on the node.
    #[arg(long, default_value_t = 600.0)]
    away_seconds: f64,
}

/// The word that makes the binary a shim.
const SHIM: &str = "shim";

/// How an agent starts a shim, which runs one job.
#[derive(clap::Parser)]
#[command(name = "trialog shim")]
pub struct ShimArguments {
    /// The attempt's folder.
    folder: PathBuf,
}

/// Runs an agent until it is told to leave.
pub async fn agent(arguments: AgentArguments) -> anyhow::Result<()> {
    runtime::telemetry::start("info");
    let shutdown = Shutdown::new();
    shutdown.watch_signals()?;
    // In the environment, not in argv: other users of the machine can read argv.
    let token = std::env::var("TRIALOG_NODE_TOKEN").unwrap_or_default();
    agent::agent_main(agent::AgentOptions {
        node_id: arguments.node,
        environments: arguments.environments.unwrap_or_else(|| arguments.folder.join("environments")),
        folder: arguments.folder,
        compute: arguments.compute,
        token,
        away: Duration::try_from_secs_f64(arguments.away_seconds)?,
        shim_command: vec![std::env::current_exe()?.into_os_string(), SHIM.into()],
        clock: Arc::new(MachineClock),
        entropy: Arc::new(MachineEntropy::default()),
        shutdown,
    })
    .await
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
