//! The services behind the door, and positions in their logs.

use std::collections::BTreeMap;

use strum::{EnumString, IntoStaticStr};
use vocabulary::Problem;

/// The services behind the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Service {
    /// Clusters, jobs, endpoints.
    Compute,
    /// Registered models.
    Models,
    /// Runs, metrics, artifacts, objects.
    Runs,
    /// Sweeps and trials.
    Sweeps,
    /// Workspaces and tokens.
    Workspaces,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Compute, Self::Models, Self::Runs, Self::Sweeps, Self::Workspaces];

    /// The name in positions.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Reads `sweeps=1234,runs=99`.
///
/// # Errors
/// 400 that names where the text came from.
pub fn parse_positions(text: &str, origin: &str) -> Result<BTreeMap<&'static str, i64>, Problem> {
    let mut positions = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let read = part.split_once('=').and_then(|(service, position)| {
            let service: Service = service.trim().parse().ok()?;
            Some((service.name(), position.trim().parse::<i64>().ok().filter(|position| *position >= 0)?))
        });
        let Some((service, position)) = read else {
            let detail =
                format!("{origin} '{part}': send SERVICE=POSITION, several joined by commas, such as sweeps=1234");
            return Err(Problem::new(400, "BadPosition", detail));
        };
        positions.insert(service, position);
    }
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_and_nonsense_is_refused() {
        let positions = parse_positions("sweeps=12, runs=0", "from").unwrap();
        assert_eq!(positions, BTreeMap::from([("runs", 0), ("sweeps", 12)]));
        for text in ["sweeps", "sweeps=x", "sweeps=-1", "swips=1"] {
            assert_eq!(parse_positions(text, "from").unwrap_err().code, "BadPosition", "{text}");
        }
    }
}
