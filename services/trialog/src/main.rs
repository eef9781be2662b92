//! The only binary: it parses the command line and wires. What each command does lives in its own file.

mod client;
mod server;
mod version;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// Many short allocations on a few threads: the allocator of glibc took an eighth of a busy server's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tunes models and keeps them: sweeps, runs, models, clusters, endpoints.
#[derive(Parser)]
#[command(name = "trialog", version = version::SHORT, long_version = version::LONG, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    common: client::Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything in one process: the server, its nodes and their jobs.
    Up(server::up::Arguments),
    /// End everything that runs of a data folder: its server, the nodes' agents, their jobs.
    Down(server::down::Arguments),
    /// Run some services in this process; the others are peers.
    Serve(server::serve::Arguments),
    /// Run the agent of a node (started by compute).
    Agent(server::node::AgentArguments),
    /// Print the OpenAPI document of the REST interface.
    Openapi,
    /// Print what configuration is in force and whether the data folder is sound.
    Doctor(server::doctor::Arguments),
    /// Carry the databases of a stopped installation from the files of its data folder into PostgreSQL.
    Move(server::moving::Arguments),
    /// Make the tables of a stopped installation those of this build, without serving it; `up` does the same.
    Migrate(server::migrating::Arguments),
    /// Rebuild the read models from their events, and compare them.
    Views(server::views::Arguments),
    #[command(flatten)]
    Client(client::Command),
}

fn main() -> ExitCode {
    if server::node::is_shim_server(std::env::args_os()) {
        server::own_files_only();
        return server::node::shim_server();
    }
    // One starts with every attempt, and would wait longer for the table of all commands than for its own command.
    if let Some(arguments) = server::node::shim_arguments(std::env::args_os()) {
        server::own_files_only();
        return server::node::shim(&arguments);
    }
    let command = client::with_examples(Cli::command());
    let cli = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    if !matches!(cli.command, Command::Client(_) | Command::Openapi) {
        server::own_files_only();
    }
    match cli.command {
        Command::Up(arguments) => server::run(server::up::up(arguments)),
        Command::Down(arguments) => match client::named_data_folder() {
            Ok(usual) => server::run(server::down::down(arguments, usual)),
            Err(failure) => {
                failure.print(cli.common.is_json());
                ExitCode::from(failure.exit_code())
            }
        },
        Command::Serve(arguments) => server::run(server::serve::serve(arguments)),
        Command::Agent(arguments) => server::run(server::node::agent(arguments)),
        Command::Openapi => server::openapi(),
        Command::Doctor(arguments) => match client::named() {
            Ok((data, url)) => {
                let named = server::doctor::Named { data, url };
                server::run(server::doctor::doctor(arguments, named, cli.common.format()))
            }
            Err(failure) => {
                failure.print(cli.common.is_json());
                ExitCode::from(failure.exit_code())
            }
        },
        Command::Move(arguments) => server::run(server::moving::run(arguments, cli.common.format())),
        Command::Migrate(arguments) => server::run(server::migrating::run(arguments, cli.common.format())),
        Command::Views(arguments) => server::run(server::views::run(arguments, cli.common.format())),
        Command::Client(command) => client::run(command, &cli.common, Cli::command()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::Cli;

    #[test]
    fn the_command_line_is_well_formed() {
        // clap finds clashes of options only when a command is used: a user would meet a panic.
        super::client::with_examples(Cli::command()).debug_assert();
    }

    #[test]
    fn every_example_is_a_command_line() {
        // Whoever copies the example of a help text must not be refused.
        for example in super::client::examples() {
            let words = example.split_whitespace().map(|word| word.trim_matches('\''));
            let read = Cli::command().try_get_matches_from(words).and_then(|found| Cli::from_arg_matches(&found));
            assert!(read.is_ok(), "{example}: {}", read.err().map(|error| error.to_string()).unwrap_or_default());
        }
    }
}
