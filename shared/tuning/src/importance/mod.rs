//! How much each parameter matters: functional ANOVA on a forest of regression trees (Hutter, Hoos and Leyton-Brown,
//! "An Efficient Approach for Assessing Hyperparameter Importance", ICML 2014).
//!
//! The trees live in the unit cube of u, where a sampler without a model draws evenly; so the importance of a parameter
//! is that under its declared distribution, however the trials were chosen. The main effect of a parameter is the
//! variance of its marginal prediction (their equations 3 to 6) as a part of the tree's whole variance, exact over the
//! boxes of the leaves. What the main effects leave over is interactions.
//!
//! A parameter that its conditions turn off changes nothing, whatever its u would have been: each tree gives it one at
//! random, so that the value of the parent is credited to the parent. A parameter that is absent without a condition,
//! as in an imported study, has its absence as one more value, as likely as it was among the trials. A parameter in
//! which the trials do not differ is in no tree: nothing can be said about it.

mod effect;
mod tree;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bayes::dims::{Dim, Dims, Row};
use crate::bayes::output::clip_at;
use crate::bayes::stream::Stream;
use crate::policy::Goal;
use crate::sampler::Draw;
use crate::space::{Parameter, SearchSpace};
use tree::{Feature, Kind, Sample};

/// Trials below which no tree says much: the intervals are widened then, the more the fewer there are.
pub const IMPORTANCE_TRIALS_MIN: usize = 8;
/// Trees of a forest: the ends of an interval are means of a fifth of them.
const TREES: u32 = 64;
/// Trees at each end of an interval. Where the shares are spread evenly, the mean of the least fifth is their 10th
/// percentile; and however they are spread, the mean of all lies between the means of both ends, which is not so of
/// percentiles when a few trees say much more than the others.
const END_TREES: usize = 13;
/// Entries of the table (trials times parameters) that are looked at, so that a forest takes seconds at most. Of more
/// trials every second, third, ... is taken.
const CELLS_MAX: usize = 40_000;
/// Trials that are looked at even with very many parameters.
const TRIALS_KEPT_MIN: usize = 200;
/// Values below which nobody can tell an outlier, as in the model.
const CLIP_FROM: usize = 4;

/// The part of the variance that one parameter explains by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The parameter.
    pub parameter: String,
    /// The mean over the trees, from 0 to 1.
    pub importance: f64,
    /// The mean over the fifth of the trees in which it is least.
    pub low: f64,
    /// The mean over the fifth of the trees in which it is most.
    pub high: f64,
}

/// A parameter about which nothing can be said: the trials do not differ in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unjudged {
    /// The parameter.
    pub parameter: String,
    /// Why, e.g. `no counted trial has it`.
    pub reason: String,
}

/// What matters in a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// Those that can be judged, the most important first, then by name.
    pub parameters: Vec<Share>,
    /// The others, by name.
    pub unjudged: Vec<Unjudged>,
    /// What no parameter explains by itself: interactions.
    pub interactions: f64,
    /// How many trials the forest saw.
    pub trials: u32,
    /// How many values were so bad that they were clipped.
    pub clipped: u32,
    /// How many trees there are.
    pub trees: u32,
}

impl Share {
    /// With an interval that goes the farther to both ends, the less of it is sure.
    fn widened(self, sure: f64) -> Self {
        // Written so that what is wholly sure stays what it is, to the bit.
        Self { low: self.low * sure, high: self.high + (1.0 - self.high) * (1.0 - sure), ..self }
    }
}

impl Importance {
    /// Of trials that do not differ, or are none.
    fn unknown(table: Table) -> Self {
        Self {
            parameters: Vec::new(),
            unjudged: table.unjudged,
            interactions: 0.0,
            trials: u32::try_from(table.values.len()).unwrap_or(u32::MAX),
            clipped: 0,
            trees: 0,
        }
    }
}

/// The importance of each parameter in which the trials differ, from those that ended with a finite value. All are zero
/// when no value differs.
pub fn importance(space: &SearchSpace, trials: &[(&[Draw], f64)], goal: Goal, seed: u64) -> Importance {
    let table = Table::new(space, trials, goal);
    if table.features.is_empty() {
        return Importance::unknown(table);
    }
    let sure = (table.values.len() as f64 / IMPORTANCE_TRIALS_MIN as f64).min(1.0);
    // One list a parameter, by name: the written order must not matter.
    let mut shares: Vec<Vec<f64>> = vec![Vec::with_capacity(TREES as usize); table.features.len()];
    let mut explained = 0.0;
    for number in 0..TREES {
        let effects = table.tree(seed, number);
        explained += effects.iter().fold(0.0, |sum, effect| sum + effect);
        for (share, effect) in shares.iter_mut().zip(effects) {
            share.push(effect);
        }
    }
    let count = f64::from(TREES);
    let mut parameters: Vec<Share> =
        table.features.iter().zip(shares).map(|(feature, of)| share(feature, of).widened(sure)).collect();
    parameters.sort_by(|a, b| b.importance.total_cmp(&a.importance).then_with(|| a.parameter.cmp(&b.parameter)));
    let varies = parameters.iter().any(|share| share.importance > 0.0);
    Importance {
        parameters,
        unjudged: table.unjudged,
        interactions: if varies { (1.0 - explained / count).max(0.0) } else { 0.0 },
        trials: u32::try_from(table.values.len()).unwrap_or(u32::MAX),
        clipped: table.clipped,
        trees: TREES,
    }
}

fn share(feature: &Feature, mut of: Vec<f64>) -> Share {
    let importance = mean(&of);
    of.sort_unstable_by(f64::total_cmp);
    let (least, most) = (&of[..END_TREES.min(of.len())], &of[of.len().saturating_sub(END_TREES)..]);
    // That one lies between the others is arithmetic; the last bit may be rounded otherwise.
    let (low, high) = (mean(least).min(importance), mean(most).max(importance));
    Share { parameter: feature.name.clone(), importance, low, high }
}

fn mean(of: &[f64]) -> f64 {
    of.iter().fold(0.0, |sum, effect| sum + effect) / of.len() as f64
}

/// The trials as the trees see them.
struct Table {
    dims: Dims,
    /// Those in which the trials differ, by name.
    features: Vec<Feature>,
    /// The other parameters, by name.
    unjudged: Vec<Unjudged>,
    /// The place of each feature in the space.
    places: Vec<usize>,
    /// One row a trial, one entry a feature; NaN where it is inactive or absent.
    rows: Vec<Vec<f64>>,
    /// Standardised, smaller is better.
    values: Vec<f64>,
    clipped: u32,
}

impl Table {
    fn new(space: &SearchSpace, trials: &[(&[Draw], f64)], goal: Goal) -> Self {
        let dims = Dims::new(space);
        let most = (CELLS_MAX / dims.len().max(1)).max(TRIALS_KEPT_MIN);
        let step = trials.len().div_ceil(most).max(1);
        let kept: Vec<_> = trials.iter().filter(|(_, value)| value.is_finite()).step_by(step).collect();
        let named: BTreeMap<&str, usize> =
            space.parameters.iter().enumerate().map(|(place, parameter)| (parameter.name.as_str(), place)).collect();
        let all: Vec<Row> = kept.iter().map(|(draws, _)| dims.row_of(draws)).collect();
        let (mut places, mut unjudged) = (Vec::new(), Vec::new());
        for (name, place) in named {
            let draws = kept.iter().map(|(draws, _)| *draws);
            match why_unjudged(&dims.parameters[place], all.iter().map(|row| row[place]).zip(draws)) {
                Some(reason) => unjudged.push(Unjudged { parameter: name.to_owned(), reason }),
                None => places.push(place),
            }
        }
        let rows: Vec<Vec<f64>> = all.iter().map(|row| places.iter().map(|place| row[*place]).collect()).collect();
        let features = places.iter().enumerate().map(|(at, place)| feature(&dims, *place, at, &rows)).collect();
        let sign = if goal == Goal::Maximize { -1.0 } else { 1.0 };
        let (values, clipped) = standard(kept.iter().map(|(_, value)| sign * value).collect());
        Self { features, unjudged, places, rows, values, clipped, dims }
    }

    /// The main effects in one tree.
    fn tree(&self, seed: u64, number: u32) -> Vec<f64> {
        let mut stream = Stream::new(seed, u64::from(number), "importance");
        let mut samples = Vec::with_capacity(self.rows.len());
        for _ in 0..self.rows.len() {
            let at = stream.below(self.rows.len());
            let mut entries = self.rows[at].clone();
            for ((entry, feature), place) in entries.iter_mut().zip(&self.features).zip(&self.places) {
                if entry.is_nan() && feature.absent == 0.0 {
                    *entry = self.dims.canonical(*place, stream.unit());
                }
            }
            samples.push(Sample { entries, value: self.values[at] });
        }
        effect::main_effects(&self.features, &tree::grow(&self.features, samples, &mut stream))
    }
}

/// Why nothing can be said about a parameter, from its entry in each trial; `None` where something can. That it is
/// absent without a condition is one more value.
fn why_unjudged<'a>(parameter: &Parameter, trials: impl Iterator<Item = (f64, &'a [Draw])>) -> Option<String> {
    let (known, absent): (Vec<_>, Vec<_>) = trials.partition(|(entry, _)| !entry.is_nan());
    let Some((first, draws)) = known.first() else {
        return Some(if absent.is_empty() { "no trial counts" } else { "no counted trial has it" }.to_owned());
    };
    let is_absent_by_itself = !absent.is_empty() && parameter.when.is_empty();
    if is_absent_by_itself || known.iter().any(|(entry, _)| entry != first) {
        return None;
    }
    if known.len() == 1 && absent.is_empty() {
        return Some("only one trial counts".to_owned());
    }
    let value = draws.iter().find(|draw| draw.name == parameter.name).map(|draw| draw.value.to_string());
    let those = if absent.is_empty() { "" } else { " that have it" };
    Some(format!("one value in all counted trials{those}: {}", value.unwrap_or_default()))
}

fn feature(dims: &Dims, place: usize, at: usize, rows: &[Vec<f64>]) -> Feature {
    let parameter = &dims.parameters[place];
    let absent = rows.iter().filter(|row| row[at].is_nan()).count() as f64 / rows.len().max(1) as f64;
    let kind = match &dims.dims[place] {
        Dim::Continuous => Kind::Continuous,
        Dim::Steps(shares) => Kind::Steps(shares.clone()),
        Dim::Category(shares) => Kind::Category(shares.clone()),
    };
    Feature { name: parameter.name.clone(), kind, absent: if parameter.when.is_empty() { absent } else { 0.0 } }
}

/// Values of mean 0 and variance 1 whose bad outliers are clipped; all zero when they do not differ.
fn standard(mut values: Vec<f64>) -> (Vec<f64>, u32) {
    let mut sorted = values.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let clip = if values.len() >= CLIP_FROM { clip_at(&sorted) } else { f64::MAX };
    let clipped = values.iter().filter(|value| **value > clip).count();
    // Halved and divided by the largest, so that no sum of large values is infinite.
    let largest = sorted.iter().fold(0.0_f64, |most, value| most.max(value.abs().min(clip.abs())));
    if largest > 0.0 {
        values.iter_mut().for_each(|value| *value = value.min(clip) / largest);
    }
    let count = values.len() as f64;
    let mean = values.iter().fold(0.0, |sum, value| sum + value / count);
    let variance = values.iter().fold(0.0, |sum, value| sum + (value - mean) * (value - mean) / count);
    let spread = variance.sqrt();
    // Values that differ in the last digits only are equal.
    let real = spread.is_finite() && spread > 1e-12;
    values.iter_mut().for_each(|value| *value = if real { (*value - mean) / spread } else { 0.0 });
    (values, u32::try_from(clipped).unwrap_or(u32::MAX))
}
