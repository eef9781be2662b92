//! How runs stand by the metric that each is about: read from the summaries of its keys, many runs at once, so that a
//! report writes nothing more than it did.

use std::collections::BTreeMap;

use eventlog::{Reader, sql};
use uuid::Uuid;
use vocabulary::RunId;
use vocabulary::job::Goal;

use super::read::{self, Error};
use crate::run::Objective;

/// Runs that are asked for in one statement.
const RUNS_AT_ONCE: usize = 500;

/// What a run has come to. Only finite values: no other is better than one, or shown as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// The best live value; `None` too where nobody has said which way is better.
    pub best: Option<f64>,
    /// The live value of the greatest step.
    pub last: Option<f64>,
}

/// The bounds and the last value of a key.
struct Bounds {
    low: Option<f64>,
    high: Option<f64>,
    last: f64,
}

/// A row: the run, the bits of the last value, least, greatest, whether all that is exact.
type Summary = (Vec<u8>, i64, Option<f64>, Option<f64>, bool);

/// How runs stand, each by its objective; those that have reported nothing are left out.
///
/// # Errors
/// When the rows cannot be read.
pub async fn of(pool: &Reader, runs: &[(RunId, Objective)]) -> Result<BTreeMap<RunId, Standing>, Error> {
    let mut by_metric: BTreeMap<&str, Vec<(RunId, Option<Goal>)>> = BTreeMap::new();
    for (run, objective) in runs {
        by_metric.entry(&objective.metric).or_default().push((*run, objective.goal));
    }
    let mut standings = BTreeMap::new();
    for (metric, runs) in by_metric {
        for runs in runs.chunks(RUNS_AT_ONCE) {
            let bounds = bounds(pool, metric, runs).await?;
            let stand = |(run, goal): &(RunId, Option<Goal>)| Some((*run, standing(bounds.get(run)?, *goal)));
            standings.extend(runs.iter().filter_map(stand));
        }
    }
    Ok(standings)
}

fn standing(bounds: &Bounds, goal: Option<Goal>) -> Standing {
    let best = match goal {
        Some(Goal::Minimize) => bounds.low,
        Some(Goal::Maximize) => bounds.high,
        None => None,
    };
    Standing { best, last: Some(bounds.last).filter(|last| last.is_finite()) }
}

async fn bounds(pool: &Reader, metric: &str, runs: &[(RunId, Option<Goal>)]) -> Result<BTreeMap<RunId, Bounds>, Error> {
    let places: Vec<String> = (0..runs.len()).map(|place| format!("${}", place + 2)).collect();
    let get = "SELECT run, bits, low, high, exact FROM metric_keys WHERE name = $1 AND run IN";
    let query = sql(format!("{get} ({})", places.join(", "))).bind(metric);
    let query = runs.iter().fold(query, |query, (run, _)| query.bind(run.uuid().as_bytes().as_slice()));
    let rows: Vec<Summary> = query.fetch_all(pool).await?;
    let mut found = BTreeMap::new();
    for (run, bits, low, high, is_exact) in rows {
        let damaged = |error| eventlog::Error::Decode(format!("a row of metric_keys: {error}"));
        let run = Uuid::from_slice(&run).map(RunId::new).map_err(damaged)?;
        let bounds = if is_exact {
            Bounds { low, high, last: f64::from_bits(bits as u64) }
        } else {
            // A later attempt has superseded a part of it.
            let summary = read::counted(pool, run, metric).await?;
            Bounds { low: summary.min, high: summary.max, last: summary.last }
        };
        found.insert(run, bounds);
    }
    Ok(found)
}
