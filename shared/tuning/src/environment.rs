//! How parameters are named in the environment of a trial.

/// What every parameter's variable starts with.
pub const PARAMETER_PREFIX: &str = "TRIALOG_PARAM_";

/// The environment form of an id: upper case, each `.` and `-` becomes `_`.
pub fn environment_form(id: &str) -> String {
    id.chars().map(|c| if matches!(c, '.' | '-') { '_' } else { c.to_ascii_uppercase() }).collect()
}

/// The variable that holds a parameter: `lr-rate` is in `TRIALOG_PARAM_LR_RATE`.
pub fn parameter_environment_name(name: &str) -> String {
    format!("{PARAMETER_PREFIX}{}", environment_form(name))
}
