//! The calls of the service: each is a method that has its name in `proto/`, in one of the files here.

mod aliases;
mod models;
mod register_version;
#[cfg(test)]
mod repeats_tests;
mod versions;

use std::sync::Arc;

use eventlog::EventLog;
use tonic::Status;
use vocabulary::{Clock, Entropy, Problem};

/// What each call needs.
#[derive(Clone)]
pub(crate) struct Api {
    pub log: EventLog,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// The stream of a model. Neither a workspace's nor a model's name holds a '/'.
fn stream(workspace: &str, model: &str) -> String {
    format!("model-{workspace}/{model}")
}

/// The answer about a model that is not there.
fn absent(workspace: &str, name: &str) -> Status {
    contracts::status_of(&Problem::not_found("model", name, workspace))
}

/// The workspace and the model of a stream.
pub(crate) fn names_of(stream: &str) -> (&str, &str) {
    stream.strip_prefix("model-").and_then(|rest| rest.split_once('/')).unwrap_or_default()
}

contracts::models_calls!(Api);
