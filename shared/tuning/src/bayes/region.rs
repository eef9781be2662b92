//! What a model holds of many observations, and where it then looks.

use super::dims::Row;
use super::model::Observed;

/// Most observations that a model starts with: an ask costs the square.
pub(crate) const ACTIVE_MAX: usize = 400;
/// Most observations that hyperparameters are learned from: each step of the search costs the third power.
pub(crate) const LEARNED_MAX: usize = 256;
/// Most observations that are appended to a model before it is chosen anew.
const LATER_MAX: usize = 200;
/// Shares of what is held: the best, the latest, and points far from all others; the rest are those round the best.
const BEST: f64 = 0.16;
/// See [`BEST`].
const LATEST: f64 = 0.16;
/// See [`BEST`].
const FAR: f64 = 0.16;
/// Lengths of the trust region: at first, at most, and where it starts again (Eriksson et al. 2019, arXiv 1910.01739).
const LENGTH_START: f64 = 0.8;
/// See [`LENGTH_START`].
const LENGTH_MAX: f64 = 1.6;
/// See [`LENGTH_START`].
const LENGTH_MIN: f64 = 0.0078125;
/// Successes in a row that double the length.
const SUCCESSES: usize = 3;

/// From how many observations the members of a model are chosen, when `fitted` of `count` were known to its fit.
pub(crate) fn chosen_from(fitted: usize, count: usize) -> usize {
    fitted + count.saturating_sub(fitted) / LATER_MAX * LATER_MAX
}

/// `most` of the first `count` observations that say most, in order.
pub(crate) fn chosen(observed: &Observed, count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    let share = |share: f64| (share * most as f64) as usize;
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| observed.values[*a].total_cmp(&observed.values[*b]));
    let mut held = vec![false; count];
    order[..share(BEST)].iter().for_each(|at| held[*at] = true);
    held[count - share(LATEST)..].fill(true);
    let best = &observed.rows[order[0]];
    let from_best: Vec<f64> = observed.rows[..count].iter().map(|row| distance(row, best)).collect();
    let mut near: Vec<usize> = (0..count).collect();
    near.sort_by(|a, b| from_best[*a].total_cmp(&from_best[*b]));
    let have = held.iter().filter(|held| **held).count();
    let wanted = most - share(FAR) - have;
    let nearest: Vec<usize> = near.into_iter().filter(|at| !held[*at]).take(wanted).collect();
    nearest.into_iter().for_each(|at| held[at] = true);
    spread_out(observed, &mut held, from_best, share(FAR));
    (0..count).filter(|at| held[*at]).collect()
}

/// Adds the farthest point from the best and from what was added, again and again.
fn spread_out(observed: &Observed, held: &mut [bool], mut nearest: Vec<f64>, times: usize) {
    for _ in 0..times {
        let left = (0..held.len()).filter(|at| !held[*at]);
        let Some(farthest) = left.max_by(|a, b| nearest[*a].total_cmp(&nearest[*b]).then(b.cmp(a))) else { return };
        held[farthest] = true;
        for (at, nearest) in nearest.iter_mut().enumerate() {
            *nearest = nearest.min(distance(&observed.rows[at], &observed.rows[farthest]));
        }
    }
}

/// Squared; a parameter that is active in one only, or another category, counts 1.
fn distance(a: &Row, b: &Row) -> f64 {
    let entries = a.iter().zip(b);
    entries
        .map(|(a, b)| match (a.is_nan(), b.is_nan()) {
            (true, true) => 0.0,
            (false, false) => ((a - b) * (a - b)).min(1.0),
            _ => 1.0,
        })
        .sum()
}

/// The side of the trust region after `count` observations; none while the model holds all of them.
pub(crate) fn length(observed: &Observed, count: usize, dimensions: usize) -> Option<f64> {
    if count <= ACTIVE_MAX {
        return None;
    }
    let failures_max = dimensions.max(4);
    let mut best = observed.values[..ACTIVE_MAX].iter().copied().fold(f64::INFINITY, f64::min);
    let (mut length, mut successes, mut failures) = (LENGTH_START, 0, 0);
    for value in &observed.values[ACTIVE_MAX..count] {
        if *value < best {
            best = *value;
            (successes, failures) = (successes + 1, 0);
        } else {
            (successes, failures) = (0, failures + 1);
        }
        if successes == SUCCESSES {
            length = f64::min(2.0 * length, LENGTH_MAX);
            successes = 0;
        } else if failures == failures_max {
            length *= 0.5;
            failures = 0;
        }
        if length < LENGTH_MIN {
            length = LENGTH_START;
        }
    }
    Some(length)
}
