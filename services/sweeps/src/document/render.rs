//! A trial's command and variables: the spec's templates with the values of one trial.

use std::collections::BTreeMap;

use tuning::{Configuration, parameter_environment_name};

use super::spec::SweepSpec;
use super::template::{Argument, Filling};

/// The words of the trial's command. An argument that refers to an inactive parameter is left out whole. Placeholders
/// of inputs and outputs stay for the node, which knows the paths.
pub fn render_command(spec: &SweepSpec, filling: &Filling<'_>) -> Vec<String> {
    let words_of = |argument: &Argument| {
        let words: Option<Vec<String>> = argument.words().iter().map(|word| word.fill(filling)).collect();
        words.unwrap_or_default()
    };
    spec.trial.command.iter().flat_map(words_of).collect()
}

/// The user's environment variables; one that refers to an inactive parameter is left unset.
pub fn render_environment_variables(spec: &SweepSpec, filling: &Filling<'_>) -> BTreeMap<String, String> {
    let variables = spec.trial.environment_variables.iter();
    variables.filter_map(|(name, value)| Some((name.clone(), value.fill(filling)?))).collect()
}

/// `TRIALOG_PARAM_NAME` of each active parameter.
pub fn parameter_variables(parameters: &Configuration) -> BTreeMap<String, String> {
    parameters.iter().map(|(name, value)| (parameter_environment_name(name), value.argv_text())).collect()
}
