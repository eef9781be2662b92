//! How runs stand by the metric that each is about: read from the summaries of its keys, many runs at once, so that a
//! report writes nothing more than it did.

use std::collections::{BTreeMap, BTreeSet};

use eventlog::{Reader, sql};
use uuid::Uuid;
use vocabulary::RunId;
use vocabulary::job::Goal;

use super::read::{self, Error};
use crate::run::Objective;

/// Runs that are asked for in one statement.
const RUNS_AT_ONCE: usize = 500;
/// Runs of one list that are counted from their points, of which a later attempt has superseded some: that reads all
/// that such a run has ever reported, and a list is to come soon. Those behind them say nothing; each by itself does.
const RECOUNTED_MAX: usize = 50;

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

/// How runs stand, each by its objective; those that have reported nothing are left out, and of those that have to be
/// counted from their points all but the first [`RECOUNTED_MAX`].
///
/// # Errors
/// When the rows cannot be read.
pub async fn of(pool: &Reader, runs: &[(RunId, Objective)]) -> Result<BTreeMap<RunId, Standing>, Error> {
    let mut by_metric: BTreeMap<&str, Vec<(RunId, Option<Goal>)>> = BTreeMap::new();
    for (run, objective) in runs {
        by_metric.entry(&objective.metric).or_default().push((*run, objective.goal));
    }
    let (mut standings, mut inexact) = (BTreeMap::new(), BTreeSet::new());
    for (metric, runs) in by_metric {
        for runs in runs.chunks(RUNS_AT_ONCE) {
            let bounds = bounds(pool, metric, runs).await?;
            for (run, goal) in runs {
                match bounds.get(run) {
                    Some(Some(bounds)) => drop(standings.insert(*run, standing(bounds, *goal))),
                    Some(None) => drop(inexact.insert(*run)),
                    None => {}
                }
            }
        }
    }
    for (run, objective) in runs.iter().filter(|(run, _)| inexact.contains(run)).take(RECOUNTED_MAX) {
        let summary = read::counted(pool, *run, &objective.metric).await?;
        let bounds = Bounds { low: summary.min, high: summary.max, last: summary.last };
        standings.insert(*run, standing(&bounds, objective.goal));
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

/// By run; `None` where a later attempt has superseded a part of it.
type Found = BTreeMap<RunId, Option<Bounds>>;

async fn bounds(pool: &Reader, metric: &str, runs: &[(RunId, Option<Goal>)]) -> Result<Found, Error> {
    let places: Vec<String> = (0..runs.len()).map(|place| format!("${}", place + 2)).collect();
    let get = "SELECT run, bits, low, high, exact FROM metric_keys WHERE name = $1 AND run IN";
    let query = sql(format!("{get} ({})", places.join(", "))).bind(metric);
    let query = runs.iter().fold(query, |query, (run, _)| query.bind(run.uuid().as_bytes().as_slice()));
    let rows: Vec<Summary> = query.fetch_all(pool).await?;
    let mut found = Found::new();
    for (run, bits, low, high, is_exact) in rows {
        let damaged = |error| eventlog::Error::Decode(format!("a row of metric_keys: {error}"));
        let run = Uuid::from_slice(&run).map(RunId::new).map_err(damaged)?;
        found.insert(run, is_exact.then(|| Bounds { low, high, last: f64::from_bits(bits as u64) }));
    }
    Ok(found)
}
