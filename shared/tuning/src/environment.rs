//! How parameters are named in the environment of a trial.

pub use vocabulary::names::environment_form;

/// What every parameter's variable starts with.
pub const PARAMETER_PREFIX: &str = "TRIALOG_PARAM_";

/// The variable that holds a parameter: `lr-rate` is in `TRIALOG_PARAM_LR_RATE`.
pub fn parameter_environment_name(name: &str) -> String {
    format!("{PARAMETER_PREFIX}{}", environment_form(name))
}
