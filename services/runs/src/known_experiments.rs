//! Experiments that were looked up before, so that thousands of runs of one are not thousands of questions. An
//! experiment never changes and never goes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::experiment::ExperimentCreated as Experiment;

/// Experiments kept: a few hundred bytes each.
const KNOWN_MAX: usize = 1_000;

/// By workspace and by what was asked for, an id or a name.
#[derive(Default)]
pub(crate) struct Known(Mutex<HashMap<(String, String), Experiment>>);

impl Known {
    pub fn get(&self, workspace: &str, asked: &str) -> Option<Experiment> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(workspace.to_owned(), asked.to_owned())).cloned()
    }

    pub fn put(&self, workspace: &str, asked: &str, found: Experiment) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert((workspace.to_owned(), asked.to_owned()), found);
    }
}
