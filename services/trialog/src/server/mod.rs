//! The server side of the binary: which services run here, how they meet, and how the process ends.

mod checks;
mod contents;
mod databases;
mod disk;
pub mod doctor;
pub mod down;
pub mod folder;
mod health;
mod held;
mod journal;
mod listen;
mod logs;
mod measures;
pub mod migrating;
mod moved;
pub mod moving;
#[cfg(feature = "postgres")]
mod moving_objects;
pub mod node;
mod plan;
mod private;
mod reads;
pub mod serve;
pub mod settings;
mod standby;
mod tls;
pub mod up;
pub mod views;
mod wiring;

use std::future::Future;
use std::process::ExitCode;

/// Worker threads of the server: the writers have threads of their own (SQLite), HTTP too.
const WORKER_THREADS_MAX: usize = 4;

pub use private::own_files_only;

/// Runs an asynchronous command to its end; the error's causes are printed one a line.
pub fn run(command: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(1, WORKER_THREADS_MAX);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            runtime::print_error(format_args!("trialog: no runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            runtime::print_error(format_args!("trialog: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints the OpenAPI document.
pub fn openapi() -> ExitCode {
    match gateway::openapi().to_pretty_json() {
        Ok(text) => {
            crate::client::stdout::line(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            runtime::print_error(format_args!("trialog: {error}"));
            ExitCode::FAILURE
        }
    }
}
