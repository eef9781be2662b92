//! Further outputs of a trial, objectives and constraints, each with a model of its own on the same points.
//!
//! With one objective the constraints are weighed in as Gardner et al. 2014 say: the expected improvement on the best
//! feasible trial times the chance of being feasible, and that chance alone while nothing is feasible. Several
//! objectives are made one by an augmented Tchebycheff norm whose weights are drawn for every suggestion (Knowles 2006,
//! ParEGO; over independent posteriors as in Daulton et al. 2020, qParEGO).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::dims::Row;
use super::model::{Known, Model, Observed};
use super::stream::{Points, Stream};
use super::tuner::{Fit, Outcome, Tuner};
use crate::normal::inverse_normal;
use crate::pareto::front;
use crate::policy::Goal;

/// Standard normal points that an expectation is taken over.
const NORMALS: u64 = 32;
/// How many places of a ranking by fronts are told apart: more than are ever called good.
const RANKED_MIN: usize = 64;
/// Below this the front has no extent in an objective.
const EXTENT_MIN: f64 = 1e-9;

/// The norm is measured from a point so much of the front's extent better than its best ends. From the ends themselves
/// a point beyond one of them would gain next to nothing, and the front would never grow longer.
const UTOPIA: f64 = 0.2;

/// What a further output must be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sought {
    /// As good as it gets.
    Objective(Goal),
    /// At most a bound.
    AtMost(f64),
    /// At least a bound.
    AtLeast(f64),
}

impl Sought {
    /// As the models see a value: smaller is better, and of a constraint all up to 0 is feasible.
    fn inside(self, value: f64) -> f64 {
        match self {
            Self::Objective(Goal::Minimize) => value,
            Self::Objective(Goal::Maximize) => -value,
            Self::AtMost(bound) => value - bound,
            Self::AtLeast(bound) => bound - value,
        }
    }

    /// The value that a model's one stands for.
    pub(super) fn outside(self, inside: f64) -> f64 {
        match self {
            Self::Objective(Goal::Minimize) => inside,
            Self::Objective(Goal::Maximize) => -inside,
            Self::AtMost(bound) => bound + inside,
            Self::AtLeast(bound) => bound - inside,
        }
    }

    fn is_constraint(self) -> bool {
        !matches!(self, Self::Objective(_))
    }
}

/// A further output of the trials.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// What it is called in explanations.
    pub name: String,
    /// What it must be.
    pub sought: Sought,
}

/// What is known of one of them.
#[derive(Debug)]
pub(super) struct Track {
    pub output: Output,
    pub observed: Arc<Observed>,
    /// How many of the observations are inherited.
    base: usize,
    /// How many observations there were after each ending.
    after: Vec<usize>,
}

impl Track {
    /// How many observations there were after the first `known` endings.
    pub(super) fn count(&self, known: u32) -> usize {
        known.checked_sub(1).and_then(|last| self.after.get(last as usize)).copied().unwrap_or(self.base)
    }

    pub(super) fn is_constraint(&self) -> bool {
        self.output.sought.is_constraint()
    }
}

/// All of them; empty with one objective alone.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    pub tracks: Vec<Track>,
    /// By observation of the first objective: what the models see of the others, NaN where it is unknown.
    pub joint: Vec<Vec<f64>>,
    /// With the `known` of their fit; none for an output that nothing is known of.
    models: Option<(u32, Vec<Option<Model>>)>,
}

impl Tracks {
    pub(super) fn new(outputs: &[Output]) -> Self {
        let track = |output: &Output| {
            let observed = Observed { about_zero: output.sought.is_constraint(), ..Observed::default() };
            Track { output: output.clone(), observed: Arc::new(observed), base: 0, after: Vec::new() }
        };
        Self { tracks: outputs.iter().map(track).collect(), ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// Whether any of the further outputs is an objective.
    pub(super) fn has_objectives(&self) -> bool {
        self.tracks.iter().any(|track| !track.is_constraint())
    }

    /// What the models see of told values; NaN where there is none.
    pub(super) fn inside(&self, values: &[Option<f64>]) -> Vec<f64> {
        let values = values.iter().copied().chain(std::iter::repeat(None));
        let inside = self
            .tracks
            .iter()
            .zip(values)
            .map(|(track, value)| value.map_or(f64::NAN, |value| track.output.sought.inside(value)));
        inside.map(|value| if value.is_finite() { value } else { f64::NAN }).collect()
    }

    /// What an ending says when some of the outputs are unknown: a trial that has finished without one of them counts
    /// as one that failed; one that was stopped early, or was not `asked` for them, may lack the constraints.
    pub(super) fn judged(&self, outcome: Outcome, inside: &[f64], asked: bool) -> Outcome {
        let lacks = |constraints: bool| {
            let mut entries = self.tracks.iter().zip(inside);
            entries.any(|(track, value)| value.is_nan() && (constraints || !track.is_constraint()))
        };
        match outcome {
            Outcome::Value(_) if lacks(asked) => Outcome::Failed,
            Outcome::Censored { .. } if lacks(false) => Outcome::Failed,
            other => other,
        }
    }

    /// Takes in what was observed beside the first objective.
    pub(super) fn push(&mut self, trial: Option<u32>, row: &Row, inside: Vec<f64>, noise: f64) {
        if self.is_empty() {
            return;
        }
        for (track, value) in self.tracks.iter_mut().zip(&inside) {
            if value.is_finite() {
                Arc::make_mut(&mut track.observed).push(trial, row.clone(), *value, noise);
            }
        }
        self.joint.push(inside);
    }

    /// What was pushed so far is inherited.
    pub(super) fn begin(&mut self) {
        for track in &mut self.tracks {
            track.base = track.observed.len();
        }
    }

    /// An ending is over.
    pub(super) fn note(&mut self) {
        for track in &mut self.tracks {
            track.after.push(track.observed.len());
        }
    }

    fn is_feasible(&self, at: usize) -> bool {
        let mut tracks = self.tracks.iter().enumerate();
        tracks.all(|(place, track)| !track.is_constraint() || self.joint[at][place] <= 0.0)
    }

    /// By how much an observation breaks the constraints, each in units of its usual distance from its bound.
    fn violations(&self, count: usize) -> Vec<f64> {
        let mut broken = vec![0.0; count];
        for (place, _) in self.tracks.iter().enumerate().filter(|(_, track)| track.is_constraint()) {
            let values = self.joint[..count].iter().map(|joint| joint[place]);
            let mut distances: Vec<f64> = values.clone().filter(|value| value.is_finite()).map(f64::abs).collect();
            distances.sort_unstable_by(f64::total_cmp);
            let unit = distances.get(distances.len() / 2).copied().filter(|unit| *unit > 0.0).unwrap_or(1.0);
            for (sum, value) in broken.iter_mut().zip(values) {
                // What is unknown is as bad as it gets.
                *sum += if value.is_nan() { f64::INFINITY } else { value.max(0.0) / unit };
            }
        }
        broken
    }
}

/// A search for hyperparameters of a further output.
#[derive(Debug)]
pub(super) struct TrackTask {
    pub observed: Arc<Observed>,
    pub count: usize,
    pub last: Option<Vec<f64>>,
}

impl Tuner {
    /// What is to be fitted beside the first objective.
    pub(super) fn track_tasks(&self, known: u32, previous: Option<&Fit>) -> Vec<TrackTask> {
        let tracks = self.tracks.tracks.iter().enumerate();
        let task = |(place, track): (usize, &Track)| TrackTask {
            observed: Arc::clone(&track.observed),
            count: track.count(known),
            last: previous.and_then(|fit| fit.outputs.get(place).cloned()),
        };
        tracks.map(task).collect()
    }

    /// Whether any further output varies.
    pub(super) fn track_varies(&self, count: usize) -> bool {
        let joint = &self.tracks.joint[..count.min(self.tracks.joint.len())];
        joint.iter().any(|inside| inside.iter().zip(&joint[0]).any(|(a, b)| a.to_bits() != b.to_bits()))
    }

    /// The values of the objectives of an observation.
    fn objectives_at(&self, at: usize) -> Vec<f64> {
        let further = self.tracks.tracks.iter().zip(&self.tracks.joint[at]);
        let further = further.filter(|(track, _)| !track.is_constraint()).map(|(_, value)| *value);
        std::iter::once(self.observed.values[at]).chain(further).collect()
    }

    /// The first `count` observations, best first: the feasible ones by fronts, the rest by how far they are from it.
    pub(super) fn ranked_places(&self, count: usize) -> Vec<usize> {
        let (mut good, mut rest): (Vec<usize>, Vec<usize>) = (0..count).partition(|at| self.tracks.is_feasible(*at));
        if self.tracks.has_objectives() {
            good = self.by_fronts(good);
        } else {
            good.sort_by(|a, b| self.observed.values[*a].total_cmp(&self.observed.values[*b]));
        }
        let broken = self.tracks.violations(count);
        // Of those that are equally far, or of which that is unknown, the first objective's best come first.
        let value = |at: usize| self.observed.values[at];
        rest.sort_by(|a, b| broken[*a].total_cmp(&broken[*b]).then(value(*a).total_cmp(&value(*b))));
        good.extend(rest);
        good
    }

    /// The first front, then the front of the rest and so on, in each the least crowded first. Far down, where nothing
    /// is called good any more, in the order in which they ended.
    fn by_fronts(&self, places: Vec<usize>) -> Vec<usize> {
        let mut left = places;
        let mut ranked = Vec::with_capacity(left.len());
        while !left.is_empty() && ranked.len() < RANKED_MIN {
            let points: Vec<Vec<f64>> = left.iter().map(|at| self.objectives_at(*at)).collect();
            let found = front(&points);
            let of_front: Vec<Vec<f64>> = found.iter().map(|at| points[*at].clone()).collect();
            let apart = crowding(&of_front);
            let mut order: Vec<usize> = (0..found.len()).collect();
            order.sort_by(|a, b| apart[*b].total_cmp(&apart[*a]));
            ranked.extend(order.into_iter().map(|at| left[found[at]]));
            let mut next = found.iter().peekable();
            let mut kept = Vec::with_capacity(left.len() - found.len());
            for (place, at) in left.iter().enumerate() {
                if next.next_if(|found| **found == place).is_none() {
                    kept.push(*at);
                }
            }
            left = kept;
        }
        ranked.extend(left);
        ranked
    }

    /// The models of the further outputs, with all that is known by now.
    pub(super) fn track_models(&mut self, fit: &Fit, known: u32, pending: &[&Row]) -> Vec<Option<Model>> {
        let mut before = self.tracks.models.take().filter(|(of, _)| *of == fit.known).map(|(_, models)| models);
        let mut models = Vec::with_capacity(self.tracks.tracks.len());
        for (place, track) in self.tracks.tracks.iter().enumerate() {
            let count = track.count(known);
            let seen = Known { fitted: track.count(fit.known).min(count), count };
            let theta = fit.outputs.get(place).filter(|theta| !theta.is_empty() && seen.fitted > 0);
            let reusable = before.as_mut().and_then(|before| before[place].take()).filter(|model| model.reaches(seen));
            let made = reusable
                .or_else(|| theta.map(|theta| Model::new(&self.dims, &self.recipe, &track.observed, seen, theta)));
            models.push(made.map(|mut model| {
                model.extend(&track.observed, count, pending);
                model
            }));
        }
        models
    }

    /// Keeps them for the next suggestion.
    pub(super) fn keep_models(&mut self, known: u32, models: Vec<Option<Model>>) {
        self.tracks.models = Some((known, models));
    }

    /// What a suggestion with several outputs aims at.
    pub(super) fn aim(&self, number: u32, model: &Model, further: &[Option<Model>]) -> Option<Aim> {
        let tracks = || self.tracks.tracks.iter().zip(further);
        let objectives: Vec<&Model> = std::iter::once(model)
            .chain(tracks().filter(|(track, _)| !track.is_constraint()).filter_map(|(_, model)| model.as_ref()))
            .collect();
        // An objective of which nothing is known yet.
        if objectives.len() != 1 + tracks().filter(|(track, _)| !track.is_constraint()).count() {
            return None;
        }
        let members = &model.members;
        let feasible: Vec<bool> = members.iter().map(|at| self.tracks.is_feasible(*at)).collect();
        let (axes, weights) = self.axes(number, &objectives, members, &feasible);
        let norm = Norm { axes, weights };
        let broken = self.tracks.violations(model.seen);
        let reached: Vec<f64> = members
            .iter()
            .map(|at| {
                let row = &self.observed.rows[*at];
                norm.of(&objectives.iter().map(|model| model.posterior.mean(row)).collect::<Vec<f64>>())
            })
            .collect();
        let best = reached.iter().zip(&feasible).filter(|(_, feasible)| **feasible).map(|(reached, _)| *reached);
        let incumbent = best.reduce(f64::min);
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_by(|a, b| {
            let key = |place: usize| {
                let by = if feasible[place] { reached[place] } else { broken[members[place]] };
                (!feasible[place], by)
            };
            let ((bad_a, a), (bad_b, b)) = (key(*a), key(*b));
            bad_a.cmp(&bad_b).then(a.total_cmp(&b))
        });
        let ranked = order.into_iter().map(|place| self.observed.rows[members[place]].clone()).collect();
        let normals = if norm.axes.len() > 1 { self.normals(number, norm.axes.len()) } else { Vec::new() };
        Some(Aim { norm, incumbent, ranked, normals })
    }

    /// How the objectives are measured: by the extent of the feasible front, or of all that is feasible.
    fn axes(&self, number: u32, objectives: &[&Model], members: &[usize], feasible: &[bool]) -> (Vec<Axis>, Vec<f64>) {
        if objectives.len() == 1 {
            return (vec![Axis { low: 0.0, extent: 1.0 }], vec![1.0]);
        }
        let scaled = |at: usize| -> Vec<f64> {
            let values = self.objectives_at(at);
            objectives.iter().zip(values).map(|(model, value)| model.scale.apply(value)).collect()
        };
        let all: Vec<Vec<f64>> =
            members.iter().zip(feasible).filter(|(_, feasible)| **feasible).map(|(at, _)| scaled(*at)).collect();
        let found: Vec<&Vec<f64>> = front(&all).into_iter().map(|at| &all[at]).collect();
        let bounds = |points: &mut dyn Iterator<Item = f64>| {
            points.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
        };
        let axis = |place: usize| {
            let (low, high) = bounds(&mut found.iter().map(|point| point[place]));
            let (_, highest) = bounds(&mut all.iter().map(|point| point[place]));
            let extent = if high - low > EXTENT_MIN { high - low } else { highest - low };
            let known = low.is_finite() && extent > EXTENT_MIN;
            let extent = if known { extent } else { 1.0 };
            Axis { low: if low.is_finite() { low - UTOPIA * extent } else { 0.0 }, extent }
        };
        let mut stream = Stream::new(self.setup.seed, u64::from(number), "weights");
        // Exponential numbers by their sum are even over all weights.
        let drawn: Vec<f64> = objectives.iter().map(|_| -libm::log(stream.unit())).collect();
        let sum: f64 = drawn.iter().sum();
        ((0..objectives.len()).map(axis).collect(), drawn.iter().map(|weight| weight / sum).collect())
    }

    fn normals(&self, number: u32, count: usize) -> Vec<Vec<f64>> {
        let points = Points::new(&mut Stream::new(self.setup.seed, u64::from(number), "normals"), count);
        (0..NORMALS).map(|index| points.point(index).into_iter().map(inverse_normal).collect()).collect()
    }
}

/// How an objective is measured: 0 is a little better than the best end of the front, and its extent is 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub low: f64,
    pub extent: f64,
}

/// How several objectives become one.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    pub axes: Vec<Axis>,
    pub weights: Vec<f64>,
}

/// The share of the sum in the augmented norm.
const AUGMENTED: f64 = 0.05;

impl Norm {
    /// The augmented Tchebycheff norm of values in the models' units; one objective is itself.
    pub(super) fn of(&self, values: &[f64]) -> f64 {
        if let [value] = values {
            return *value;
        }
        let (largest, _, sum) = self.parts(values);
        largest + AUGMENTED * sum
    }

    /// The largest term, its place, and the sum of all.
    fn parts(&self, values: &[f64]) -> (f64, usize, f64) {
        let (mut largest, mut place, mut sum) = (f64::NEG_INFINITY, 0, 0.0);
        for (at, ((value, axis), weight)) in values.iter().zip(&self.axes).zip(&self.weights).enumerate() {
            let term = weight * (value - axis.low) / axis.extent;
            sum += term;
            if term > largest {
                (largest, place) = (term, at);
            }
        }
        (largest, place, sum)
    }

    /// The norm, and its slope by each of the values.
    pub(super) fn slopes(&self, values: &[f64], slopes: &mut [f64]) -> f64 {
        let (largest, place, sum) = self.parts(values);
        for (at, ((slope, axis), weight)) in slopes.iter_mut().zip(&self.axes).zip(&self.weights).enumerate() {
            let share = AUGMENTED + if at == place { 1.0 } else { 0.0 };
            *slope = share * weight / axis.extent;
        }
        largest + AUGMENTED * sum
    }
}

/// What one suggestion aims at.
#[derive(Debug)]
pub(super) struct Aim {
    pub norm: Norm,
    /// What is to be improved on; none while nothing is feasible.
    pub incumbent: Option<f64>,
    /// Observed rows, best first.
    pub ranked: Vec<Row>,
    pub normals: Vec<Vec<f64>>,
}

/// How far the neighbours of each point of a front are apart, summed over the objectives (Deb et al. 2002); the ends
/// are infinitely far.
fn crowding(points: &[Vec<f64>]) -> Vec<f64> {
    let mut apart = vec![0.0; points.len()];
    for place in 0..points.first().map_or(0, Vec::len) {
        let mut order: Vec<usize> = (0..points.len()).collect();
        order.sort_by(|a, b| points[*a][place].total_cmp(&points[*b][place]).then(a.cmp(b)));
        let (first, last) = (order[0], order[order.len() - 1]);
        let extent = points[last][place] - points[first][place];
        apart[first] = f64::INFINITY;
        apart[last] = f64::INFINITY;
        for window in order.windows(3).filter(|_| extent > 0.0) {
            apart[window[1]] += (points[window[2]][place] - points[window[0]][place]) / extent;
        }
    }
    apart
}
