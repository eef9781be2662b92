//! The calls of the service: each is a method that has its name in `proto/`, in one of the files here.

mod tokens;
mod workspaces;

use std::sync::Arc;

pub(crate) use tokens::new_token_text;

use eventlog::EventLog;
use vocabulary::{Clock, Entropy};

use crate::workspace;

/// What each call needs.
#[derive(Clone)]
pub(crate) struct Api {
    pub log: EventLog,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// The stream of a workspace; tokens without one belong to the installation.
fn stream(name: &str) -> String {
    if name.is_empty() { workspace::INSTALLATION.to_owned() } else { format!("{}{name}", workspace::STREAM) }
}

contracts::workspaces_calls!(Api);
