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

/// How far somebody has seen a service's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `service@incarnation`, or the bare service: whichever log it has.
    pub source: String,
    /// The last position.
    pub position: i64,
}

/// Reads `sweeps=1234,runs=99`, where a service may stand with its incarnation, `sweeps@3f=1234`.
///
/// # Errors
/// 400 that names where the text came from.
pub fn parse_positions(text: &str, origin: &str) -> Result<BTreeMap<&'static str, Seen>, Problem> {
    let mut positions = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let read = part.split_once('=').and_then(|(source, position)| {
            let source = source.trim();
            let name = source.split_once('@').map_or(source, |(name, _)| name);
            let service: Service = name.parse().ok()?;
            let position = position.trim().parse::<i64>().ok().filter(|position| *position >= 0)?;
            Some((service.name(), Seen { source: source.to_owned(), position }))
        });
        let Some((service, seen)) = read else {
            let detail =
                format!("{origin} '{part}': send SERVICE=POSITION, several joined by commas, such as sweeps=1234");
            return Err(Problem::new(400, "BadPosition", detail));
        };
        positions.insert(service, seen);
    }
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_and_nonsense_is_refused() {
        let positions = parse_positions("sweeps=12, runs=0", "from").unwrap();
        let seen = |source: &str, position| Seen { source: source.to_owned(), position };
        assert_eq!(positions, BTreeMap::from([("runs", seen("runs", 0)), ("sweeps", seen("sweeps", 12))]));
        let positions = parse_positions("sweeps@3f=12", "from").unwrap();
        assert_eq!(positions, BTreeMap::from([("sweeps", seen("sweeps@3f", 12))]));
        for text in ["sweeps", "sweeps=x", "sweeps=-1", "swips=1"] {
            assert_eq!(parse_positions(text, "from").unwrap_err().code, "BadPosition", "{text}");
        }
    }
}
