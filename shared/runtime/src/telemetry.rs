//! Logs to the standard error, filtered by TRIALOG_LOG (e.g. `info,compute=debug`).

use tracing_subscriber::EnvFilter;

/// Starts logging. Called once a process; a second call changes nothing.
pub fn start(default_filter: &str) {
    let filter = EnvFilter::try_from_env("TRIALOG_LOG").unwrap_or_else(|_| EnvFilter::new(default_filter));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A line that cannot be written (a full disk) is lost: by default it is complained of with a panic.
        .log_internal_errors(false)
        .with_target(true)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init();
}
