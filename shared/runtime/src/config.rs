//! Configuration: flags over environment (`TRIALOG_SERVER__SECTION__KEY`) over a TOML file over defaults.

use serde::de::DeserializeOwned;

/// Prefix of the environment's keys; sections and keys are joined by two underscores.
pub const ENVIRONMENT_PREFIX: &str = "TRIALOG_SERVER__";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file's path.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path}: {source}")]
    Syntax {
        /// The file's path.
        path: String,
        /// The cause.
        source: Box<toml::de::Error>,
    },
    /// A key is unknown or a value of the wrong type.
    #[error("configuration: {0}")]
    Shape(Box<toml::de::Error>),
}

/// Reads `file` (when given), lays `environment` over it, and reads the result as `T`, whose defaults fill what is
/// absent.
///
/// # Errors
/// When the file cannot be read, is not TOML, or a key is unknown to `T` or has the wrong type.
pub fn load<T: DeserializeOwned>(
    file: Option<&std::path::Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<T, Error> {
    let mut table = match file {
        None => toml::Table::new(),
        Some(path) => {
            let shown = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: shown.clone(), source })?;
            text.parse::<toml::Table>().map_err(|source| Error::Syntax { path: shown, source: Box::new(source) })?
        }
    };
    for (key, value) in environment {
        if let Some(path) = key.strip_prefix(ENVIRONMENT_PREFIX) {
            lay(&mut table, &path.to_lowercase(), &value);
        }
    }
    toml::Value::Table(table).try_into().map_err(|error| Error::Shape(Box::new(error)))
}

/// Puts a value at `section__key`. Text that reads as a TOML value is one; anything else is a string.
fn lay(table: &mut toml::Table, path: &str, value: &str) {
    let parsed = format!("value = {value}").parse::<toml::Table>().ok().and_then(|mut one| one.remove("value"));
    let value = parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()));
    match path.split_once("__") {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(inner) = inner {
                lay(inner, rest, &value.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Shape {
        name: String,
        limits: Limits,
    }
    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Limits {
        trials: u32,
    }

    fn environment(pairs: &[(&str, &str)]) -> std::vec::IntoIter<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn the_environment_overrides_and_unknown_keys_are_refused() {
        // A misspelt key must not be ignored: the user believes it is in force.
        let got: Shape = super::load(
            None,
            environment(&[("TRIALOG_SERVER__LIMITS__TRIALS", "7"), ("TRIALOG_SERVER__NAME", "lab"), ("PATH", "/bin")]),
        )
        .unwrap();
        assert_eq!(got, Shape { name: "lab".into(), limits: Limits { trials: 7 } });
        let refused = super::load::<Shape>(None, environment(&[("TRIALOG_SERVER__LIMITS__TRAILS", "7")])).unwrap_err();
        assert!(refused.to_string().contains("trails"), "{refused}");
    }
}
