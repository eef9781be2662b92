//! Logs to the standard error, filtered by TRIALOG_LOG (e.g. `info,compute=debug`), as text or as a JSON object a line.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What a server tells: what it begins and ends, what changes, what fails. Of what it is built on, only what fails.
pub const SERVER: &str = "warn,trialog=info";

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For what collects logs.
    Json,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("{other:?}: one of text, json")),
        }
    }
}

/// Starts logging. Called once a process; a second call changes nothing.
pub fn start(default_filter: &str, format: Format) {
    let filter = EnvFilter::try_from_env("TRIALOG_LOG").unwrap_or_else(|_| EnvFilter::new(default_filter));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(true);
    // A line that cannot be written (a full disk) is lost: by default it is complained of with a panic.
    let lines = lines.log_internal_errors(false);
    let _ = match format {
        Format::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
}
