//! The client commands: each is a thin layer over the REST interface, so that whatever they can do, every client can.

mod artifacts;
mod code;
mod commands;
mod compute;
mod connect;
mod document;
mod expectation;
mod experiments;
mod explain;
mod failure;
mod feed;
mod follow;
mod fork;
mod format;
mod http;
mod import;
mod importance;
mod init;
mod metrics;
mod models;
mod news;
mod options;
pub mod output;
mod python;
mod reasons;
mod reference;
mod resolve;
mod runs;
mod script;
mod serving;
mod shell;
mod stderr;
pub mod stdout;
mod streams;
mod submit;
mod summary;
mod sweeps;
mod trials;
mod what_if;
mod why;
mod workspaces;

use std::process::ExitCode;

use clap::{Args, Subcommand};

#[cfg(test)]
pub use commands::examples;
pub use commands::with_examples;
pub use connect::{named, named_data_folder};
pub use failure::Failure;
pub use http::Client;
pub use options::Common;

/// The nouns and their verbs.
#[derive(Subcommand)]
pub enum Command {
    /// Workspaces.
    #[command(subcommand)]
    Workspace(workspaces::Workspace),
    /// API tokens.
    #[command(subcommand)]
    Token(workspaces::Token),
    /// Clusters: pools of nodes.
    #[command(subcommand)]
    Cluster(compute::Cluster),
    /// Nodes of a cluster.
    #[command(subcommand)]
    Node(compute::Node),
    /// Sweeps.
    #[command(subcommand)]
    Sweep(sweeps::Sweep),
    /// Trials of a sweep.
    #[command(subcommand)]
    Trial(trials::Trial),
    /// Runs.
    #[command(subcommand)]
    Run(runs::Run),
    /// Experiments: what runs are grouped by.
    #[command(subcommand)]
    Experiment(experiments::Experiment),
    /// Files of runs.
    #[command(subcommand)]
    Artifact(artifacts::Artifact),
    /// Registered models.
    #[command(subcommand)]
    Model(models::Model),
    /// Aliases: names that point to a version of a model.
    #[command(subcommand)]
    Alias(models::Alias),
    /// Inference endpoints.
    #[command(subcommand)]
    Endpoint(serving::Endpoint),
    /// Deployments behind an endpoint.
    #[command(subcommand)]
    Deployment(serving::Deployment),
    /// Print the workspace's events as they come.
    Events(Events),
    /// Why a trial was proposed, placed, stopped. TRIAL is a run id, SWEEP/INDEX or SWEEP/best.
    Why(explain::Why),
    /// Recompute every suggestion and every stop of a sweep from its log.
    Verify(explain::Verify),
    /// Try other stopping policies on recorded curves: of a sweep, of a CSV file, or one question a line.
    Whatif(what_if::WhatIf),
    /// Import finished trials of elsewhere as a sweep.
    #[command(subcommand)]
    Import(import::Import),
    /// Begin another sweep with what one had found at some position of the log.
    Fork(fork::Fork),
    /// How much each parameter of a sweep matters to its objective.
    Importance(importance::Importance),
    /// Where an answer, a run or a model version comes from.
    Lineage(explain::Lineage),
    /// The services' followers, what they could not handle, and what settles it (admin).
    #[command(subcommand)]
    Feed(feed::Feed),
    /// Explain a document, a part or a field: sweep.early_termination.asha. Needs no server.
    Explain(reference::Explain),
    /// Write what a sweep, run or endpoint begins with; or .trialog.toml, so that commands find the server.
    Init(connect::Init),
    /// Print a completion script for a shell.
    Completions(shell::Completions),
    /// Print the manual page, or write the pages of all commands into a folder.
    Man(shell::Man),
}

/// Arguments of `trialog events`.
#[derive(Args)]
pub struct Events {
    /// Go on behind this event id, or these positions, e.g. sweeps=1234; 0 is the beginning. Default: from now on.
    #[arg(long)]
    from: Option<String>,
}

/// Runs a client command; `whole` is the command line, of which completions and manual pages are made. Exit codes: 0
/// done, 1 refused by the server, 2 usage, 3 no server.
pub fn run(command: Command, common: &Common, whole: clap::Command) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            stderr::line(&format!("trialog: no runtime: {error}"));
            return ExitCode::from(2);
        }
    };
    match runtime.block_on(dispatch(command, common, whole)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(common.is_json());
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn dispatch(command: Command, common: &Common, whole: clap::Command) -> Result<(), Failure> {
    // Those that ask no server.
    match &command {
        Command::Init(arguments) => return connect::init(arguments, common),
        Command::Explain(arguments) => return reference::explain(arguments),
        Command::Whatif(arguments) if arguments.is_local() => return what_if::local(arguments, common),
        Command::Completions(arguments) => {
            shell::completions(arguments, whole);
            return Ok(());
        }
        Command::Man(arguments) => return shell::man(arguments, whole),
        _ => {}
    }
    let client = Client::connect(common)?;
    match command {
        Command::Workspace(command) => workspaces::workspace(&client, command).await,
        Command::Token(command) => workspaces::token(&client, command).await,
        Command::Cluster(command) => compute::cluster(&client, command).await,
        Command::Node(command) => compute::node(&client, command).await,
        Command::Sweep(command) => sweeps::sweep(&client, command).await,
        Command::Trial(command) => trials::trial(&client, command).await,
        Command::Run(command) => runs::run(&client, command).await,
        Command::Experiment(command) => experiments::experiment(&client, command).await,
        Command::Artifact(command) => artifacts::artifact(&client, command).await,
        Command::Model(command) => models::model(&client, command).await,
        Command::Alias(command) => models::alias(&client, command).await,
        Command::Endpoint(command) => serving::endpoint(&client, command).await,
        Command::Deployment(command) => serving::deployment(&client, command).await,
        Command::Events(arguments) => streams::events(&client, "events", arguments.from.as_deref()).await,
        Command::Why(arguments) => explain::why(&client, arguments).await,
        Command::Verify(arguments) => explain::verify(&client, arguments).await,
        Command::Whatif(arguments) => what_if::ask(&client, arguments).await,
        Command::Import(command) => import::import(&client, command).await,
        Command::Fork(arguments) => fork::fork(&client, arguments).await,
        Command::Importance(arguments) => importance::importance(&client, arguments).await,
        Command::Feed(command) => feed::feed(&client, command).await,
        Command::Lineage(arguments) => explain::lineage(&client, arguments).await,
        Command::Init(_) | Command::Explain(_) | Command::Completions(_) | Command::Man(_) => Ok(()),
    }
}
