//! Looks for the configuration that promises most: candidates from several sources, then local searches from the best.

use super::acquire::Promise;
use super::dims::{Dim, Dims, Row};
use super::minimize::minimize;
use super::recipe::Recipe;
use super::stream::{Points, Stream};

/// A step has to gain this much of the score to be taken.
const GAIN_MIN: f64 = 1e-9;
/// The least share of the recipe's candidates.
const EFFORT_MIN: f64 = 0.4;
/// Observations whose surroundings are searched.
const BASES: usize = 8;

/// A point of the cube, with the u of inactive parameters too, and its row.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub u: Vec<f64>,
    pub row: Row,
}

/// What a search works on.
pub(crate) struct Search<'a> {
    pub dims: &'a Dims,
    pub recipe: &'a Recipe,
    pub acquisition: &'a dyn Promise,
    /// Whether a row may be proposed.
    pub fresh: &'a dyn Fn(&[f64]) -> bool,
    /// Observed rows, best first.
    pub ranked: &'a [Row],
    /// How much work it may be: the share of the recipe's candidates and local searches.
    pub effort: f64,
    /// The side of the box round the best row that the even candidates lie in; none: the whole cube.
    pub region: Option<f64>,
}

impl Search<'_> {
    /// The best fresh row that is found, with its score; none when every candidate was tried before.
    pub(crate) fn best(&self, stream: &mut Stream) -> Option<(Row, f64)> {
        let mut found = self.candidates(stream);
        found.retain(|candidate| self.fresh(&candidate.row));
        let mut scored = self.scored(found);
        scored.truncate(((self.recipe.starts as f64 * self.effort).ceil() as usize).max(1));
        for round in 0..self.recipe.rounds {
            if !self.improve(&mut scored, 0.1 * f64::powi(0.4, round as i32), stream) {
                break;
            }
        }
        scored.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut fresh = scored.into_iter().filter(|(candidate, _)| self.fresh(&candidate.row));
        fresh.next().map(|(candidate, score)| (candidate.row, score))
    }

    fn fresh(&self, row: &[f64]) -> bool {
        (self.fresh)(row)
    }

    /// With their scores, best first. Equal scores keep their order.
    fn scored(&self, candidates: Vec<Candidate>) -> Vec<(Candidate, f64)> {
        let rows: Vec<Row> = candidates.iter().map(|candidate| candidate.row.clone()).collect();
        let scores = self.acquisition.score(&rows);
        let mut scored: Vec<(Candidate, f64)> = candidates.into_iter().zip(scores).collect();
        scored.sort_by(|a, b| b.1.total_cmp(&a.1));
        scored
    }

    /// One round: the gradient, then neighbours of the width `width`. Whether anything has moved.
    fn improve(&self, scored: &mut [(Candidate, f64)], width: f64, stream: &mut Stream) -> bool {
        for at in scored.iter_mut() {
            self.climb(at);
        }
        let mut moved = false;
        for at in scored.iter_mut() {
            let mut near = self.neighbours(&at.0, width, stream);
            near.retain(|candidate| self.fresh(&candidate.row));
            if let Some((candidate, score)) = self.scored(near).into_iter().next()
                && score > at.1 + GAIN_MIN
            {
                *at = (candidate, score);
                moved = true;
            }
        }
        moved
    }

    fn climb(&self, at: &mut (Candidate, f64)) {
        let places: Vec<usize> = (0..self.dims.len())
            .filter(|place| matches!(self.dims.dims[*place], Dim::Continuous) && !at.0.row[*place].is_nan())
            .collect();
        if places.is_empty() || self.recipe.climbs == 0 {
            return;
        }
        let mut row = at.0.row.clone();
        let start: Vec<f64> = places.iter().map(|place| row[*place]).collect();
        let bounds = vec![(f64::EPSILON, 1.0 - f64::EPSILON); places.len()];
        let iterations = ((self.recipe.climbs as f64 * self.effort).ceil() as usize).max(3);
        let found = minimize(&start, &bounds, iterations, |x, gradient| {
            places.iter().zip(x).for_each(|(place, x)| row[*place] = *x);
            self.acquisition.descent(&row, &places, gradient)
        });
        let mut reached = at.0.clone();
        for (place, x) in places.iter().zip(&found.x) {
            reached.u[*place] = *x;
            reached.row[*place] = *x;
        }
        let score = self.acquisition.score(std::slice::from_ref(&reached.row))[0];
        if score > at.1 && self.fresh(&reached.row) {
            *at = (reached, score);
        }
    }

    fn candidate(&self, u: Vec<f64>) -> Candidate {
        let row = self.dims.row(&u);
        Candidate { u, row }
    }

    /// A point of the cube for a row: what is inactive gets a number of the stream.
    fn filled(&self, row: &[f64], stream: &mut Stream) -> Vec<f64> {
        let entries = row.iter().enumerate();
        entries.map(|(place, entry)| if entry.is_nan() { stream.unit() } else { self.dims.u(place, *entry) }).collect()
    }

    fn candidates(&self, stream: &mut Stream) -> Vec<Candidate> {
        let (d, recipe) = (self.dims.len(), self.recipe);
        let points = Points::new(stream, d);
        let some = |count: usize| (count as f64 * self.effort.max(EFFORT_MIN)).ceil() as u64;
        let centre = self.region.zip(self.ranked.first()).map(|(side, best)| (side, self.filled(best, stream)));
        let even = (0..some(recipe.sobol)).map(|index| {
            let mut u = points.point(index);
            if let Some((side, centre)) = &centre {
                self.confine(&mut u, *side, centre, stream);
            }
            self.candidate(u)
        });
        let mut found: Vec<Candidate> = even.collect();
        let bases = &self.ranked[..self.ranked.len().min(BASES)];
        if bases.is_empty() {
            return found;
        }
        let few = f64::max(2.0 / d as f64, 0.2);
        for i in 0..some(recipe.near) as usize {
            let mut u = self.filled(&bases[i % bases.len()], stream);
            let width = libm::exp(stream.between(libm::log(0.02), libm::log(0.2)));
            let mut moved: Vec<bool> = (0..d).map(|_| i % 2 == 1 || stream.unit() < few).collect();
            moved[stream.below(d)] = true;
            let alone = moved.iter().filter(|moved| **moved).count() == 1;
            for place in (0..d).filter(|place| moved[*place]) {
                let category = matches!(self.dims.dims[place], Dim::Category(_));
                if !category || alone || stream.unit() < 0.2 {
                    self.nudge(&mut u, place, width, stream);
                }
            }
            found.push(self.candidate(u));
        }
        for i in 0..some(recipe.steps) as usize {
            let mut u = self.filled(&bases[i % bases.len()], stream);
            let place = stream.below(d);
            self.nudge(&mut u, place, 0.1, stream);
            found.push(self.candidate(u));
        }
        let good = &self.ranked[..(self.ranked.len() / 7).max(4).min(self.ranked.len())];
        for _ in 0..some(recipe.mixes) {
            let u = (0..d).map(|place| self.mixed(good, place, stream)).collect();
            found.push(self.candidate(u));
        }
        found
    }

    /// Moves a point of the cube into the box; categories stay those of the centre in proportion to its size.
    fn confine(&self, u: &mut [f64], side: f64, centre: &[f64], stream: &mut Stream) {
        for (place, entry) in u.iter_mut().enumerate() {
            match self.dims.dims[place] {
                Dim::Category(_) if stream.unit() < side => {}
                Dim::Category(_) => *entry = centre[place],
                Dim::Continuous | Dim::Steps(_) => {
                    let (low, high) = ((centre[place] - side / 2.0).max(0.0), (centre[place] + side / 2.0).min(1.0));
                    *entry = inside(low + *entry * (high - low));
                }
            }
        }
    }

    /// One entry from another good row each time, as the univariate TPE's good density would draw it.
    fn mixed(&self, good: &[Row], place: usize, stream: &mut Stream) -> f64 {
        let entry = good[stream.below(good.len())][place];
        if entry.is_nan() || stream.unit() < 0.1 {
            return stream.unit();
        }
        match self.dims.dims[place] {
            Dim::Category(_) => self.dims.u(place, entry),
            Dim::Continuous | Dim::Steps(_) => inside(entry + 0.1 * stream.normal()),
        }
    }

    /// Another value of one parameter.
    fn nudge(&self, u: &mut [f64], place: usize, width: f64, stream: &mut Stream) {
        match &self.dims.dims[place] {
            Dim::Category(shares) => {
                let count = shares.count();
                if count > 1 {
                    let other = shares.index(u[place]) + 1 + stream.below(count - 1);
                    u[place] = shares.middles[other % count];
                }
            }
            Dim::Continuous => u[place] = inside(u[place] + width * stream.normal()),
            Dim::Steps(shares) => {
                let step = width * stream.normal();
                let (from, to) = (shares.index(u[place]), shares.index(inside(u[place] + step)));
                let to = match (from == to, step > 0.0) {
                    (false, _) => to,
                    (true, true) => (from + 1).min(shares.count() - 1),
                    (true, false) => from.saturating_sub(1),
                };
                u[place] = shares.middles[to];
            }
        }
    }

    fn neighbours(&self, of: &Candidate, width: f64, stream: &mut Stream) -> Vec<Candidate> {
        let d = self.dims.len();
        let near = (0..self.recipe.neighbours).map(|i| {
            let mut u = of.u.clone();
            self.nudge(&mut u, i % d, width * if i % 3 == 0 { 3.0 } else { 1.0 }, stream);
            if i % 4 == 3 {
                let place = stream.below(d);
                self.nudge(&mut u, place, width, stream);
            }
            self.candidate(u)
        });
        near.collect()
    }
}

fn inside(u: f64) -> f64 {
    u.clamp(f64::EPSILON, 1.0 - f64::EPSILON)
}
