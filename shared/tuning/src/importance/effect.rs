//! Main effects in a tree: exact sums over the boxes of its leaves.

use super::tree::{Feature, Kind, Leaf, Side};

/// Variance, of values with variance 1, that is rounding noise.
const NOISE: f64 = 1e-9;

/// The variance of each feature's marginal prediction as a part of the tree's; all zero in a tree without variance.
pub(super) fn main_effects(features: &[Feature], leaves: &[Leaf]) -> Vec<f64> {
    let parts: Vec<Vec<f64>> = leaves
        .iter()
        .map(|leaf| features.iter().zip(&leaf.sides).map(|(feature, side)| part(feature, side)).collect())
        .collect();
    let volumes: Vec<f64> = parts.iter().map(|parts| parts.iter().fold(1.0, |volume, part| volume * part)).collect();
    let mean = sum(leaves.iter().zip(&volumes).map(|(leaf, volume)| volume * leaf.value));
    let variance = sum(leaves.iter().zip(&volumes).map(|(leaf, volume)| volume * square(leaf.value - mean)));
    if variance <= NOISE {
        return vec![0.0; features.len()];
    }
    let effect = |(at, feature): (usize, &Feature)| {
        // What each leaf adds to the marginal of this feature where it covers it.
        let weights: Vec<f64> = (0..leaves.len())
            .map(|leaf| {
                let own = parts[leaf][at];
                if own > 0.0 { volumes[leaf] / own * (leaves[leaf].value - mean) } else { 0.0 }
            })
            .collect();
        let sides: Vec<&Side> = leaves.iter().map(|leaf| &leaf.sides[at]).collect();
        (of_feature(feature, &sides, &weights) / variance).clamp(0.0, 1.0)
    };
    features.iter().enumerate().map(effect).collect()
}

fn square(x: f64) -> f64 {
    x * x
}

fn sum(terms: impl Iterator<Item = f64>) -> f64 {
    terms.fold(0.0, |sum, term| sum + term)
}

/// How likely a feature is on a side.
fn part(feature: &Feature, side: &Side) -> f64 {
    let present = 1.0 - feature.absent;
    match side {
        Side::Range { low, high, absent } => present * (high - low) + if *absent { feature.absent } else { 0.0 },
        Side::Set(set) => sum(set.iter().enumerate().map(|(at, held)| if *held { chance(feature, at) } else { 0.0 })),
    }
}

/// How likely a nominal value is; the one behind the last is its absence.
fn chance(feature: &Feature, at: usize) -> f64 {
    let Kind::Category(shares) = &feature.kind else { return 0.0 };
    if at >= shares.count() {
        return feature.absent;
    }
    let from = if at == 0 { 0.0 } else { shares.end(at - 1) };
    (1.0 - feature.absent) * (shares.end(at) - from)
}

/// The variance of the marginal prediction, which is centred already.
fn of_feature(feature: &Feature, sides: &[&Side], weights: &[f64]) -> f64 {
    if let Kind::Category(shares) = &feature.kind {
        let value = |at: usize| {
            sum(sides.iter().zip(weights).map(|(side, weight)| match side {
                Side::Set(set) if set[at] => *weight,
                _ => 0.0,
            }))
        };
        return sum((0..=shares.count()).map(|at| chance(feature, at) * square(value(at))));
    }
    // The marginal changes where a leaf begins or ends.
    let mut changes: Vec<(f64, f64)> = Vec::with_capacity(2 * sides.len());
    let mut absent_value = 0.0;
    for (side, weight) in sides.iter().zip(weights) {
        if let Side::Range { low, high, absent } = side {
            changes.push((*low, *weight));
            changes.push((*high, -*weight));
            absent_value += if *absent { *weight } else { 0.0 };
        }
    }
    changes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut value = 0.0;
    let mut variance = 0.0;
    for (at, (from, change)) in changes.iter().enumerate() {
        value += change;
        let until = changes.get(at + 1).map_or(*from, |next| next.0);
        variance += (until - from) * square(value);
    }
    (1.0 - feature.absent) * variance + feature.absent * square(absent_value)
}
