//! What may be asked of a workspace's experiments.

use std::collections::BTreeMap;

use vocabulary::{Decider, Problem};

use super::{ExperimentCreated, ExperimentEvent, Experiments};

/// A wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A name must have an id.
    Create {
        /// The workspace.
        workspace: String,
        /// The name.
        name: String,
        /// The user's tags.
        tags: BTreeMap<String, String>,
        /// Refuse a name that is there already: somebody means to make a new one.
        must_be_new: bool,
        /// Microseconds since 1970.
        at_us: i64,
    },
}

/// Why a wish is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The name has an id already.
    NameTaken {
        /// The name.
        name: String,
        /// Its id.
        experiment_id: u64,
    },
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let Rejection::NameTaken { name, experiment_id } = rejection;
        let detail =
            format!("an experiment named '{name}' exists, its id is {experiment_id}; use it or take another name");
        Self::conflict("NameTaken", detail).with("experiment_id", experiment_id.to_string())
    }
}

impl Decider for Experiments {
    type Command = Command;
    type Event = ExperimentEvent;
    type Rejection = Rejection;

    fn decide(&self, command: &Command) -> Result<Vec<ExperimentEvent>, Rejection> {
        let Command::Create { workspace, name, tags, must_be_new, at_us } = command;
        match self.id_of(name) {
            Some(experiment_id) if *must_be_new => Err(Rejection::NameTaken { name: name.clone(), experiment_id }),
            Some(_) => Ok(Vec::new()),
            None => Ok(vec![
                ExperimentCreated {
                    workspace: workspace.clone(),
                    experiment_id: self.next_id(),
                    name: name.clone(),
                    tags: tags.clone(),
                    at_us: *at_us,
                }
                .into(),
            ]),
        }
    }

    fn evolve(&mut self, event: &ExperimentEvent) {
        let ExperimentEvent::ExperimentCreated(event) = event;
        self.add(&event.name, event.experiment_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(name: &str, must_be_new: bool) -> Command {
        Command::Create { workspace: "default".into(), name: name.into(), tags: BTreeMap::new(), must_be_new, at_us: 1 }
    }

    fn after(names: &[&str]) -> Experiments {
        let mut state = Experiments::default();
        for name in names {
            for event in state.decide(&create(name, false)).unwrap() {
                state.evolve(&event);
            }
        }
        state
    }

    #[test]
    fn ids_count_from_one_and_names_keep_theirs() {
        // Two runs that name the same new experiment must end up in one.
        let state = after(&["digits", "faces", "digits"]);
        assert_eq!((state.id_of("digits"), state.id_of("faces"), state.id_of("Default")), (Some(1), Some(2), Some(0)));
        assert_eq!(state.decide(&create("digits", false)), Ok(vec![]));
    }

    #[test]
    fn a_name_that_must_be_new_is_refused_when_it_is_there() {
        // A user who creates an experiment by hand must hear that it is not a fresh one.
        let refused = after(&["digits"]).decide(&create("digits", true));
        assert_eq!(refused, Err(Rejection::NameTaken { name: "digits".into(), experiment_id: 1 }));
        assert!(after(&[]).decide(&create("Default", true)).is_err());
    }
}
