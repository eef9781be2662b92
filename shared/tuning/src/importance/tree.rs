//! A regression tree on the unit cube, as the boxes of its leaves.

use crate::bayes::dims::Shares;
use crate::bayes::stream::Stream;

/// Samples that a leaf has at least: a leaf of one repeats its noise.
const LEAF_MIN: usize = 3;
/// Levels of a tree; a bound, since volumes shrink with each.
const DEPTH_MAX: u32 = 48;
/// The part of the features that a split chooses from, as in the paper's forest.
const TRIED: f64 = 5.0 / 6.0;
/// Sums of squares, of values with variance 1, that are rounding noise.
const NOISE: f64 = 1e-9;

/// What a parameter's entries mean.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// u itself.
    Continuous,
    /// The middle of a value's share of u.
    Steps(Shares),
    /// The number of the value.
    Category(Shares),
}

/// A parameter.
#[derive(Clone, Debug)]
pub(super) struct Feature {
    pub name: String,
    pub kind: Kind,
    /// How likely it is to be absent, which is a NaN.
    pub absent: f64,
}

/// A trial in a tree.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub entries: Vec<f64>,
    pub value: f64,
}

/// What a leaf allows of one feature.
#[derive(Clone, Debug)]
pub(super) enum Side {
    /// From `low` to `high`, and perhaps absent.
    Range { low: f64, high: f64, absent: bool },
    /// Some values, by number; the last entry stands for its absence.
    Set(Vec<bool>),
}

/// A leaf: its box and what it predicts.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub sides: Vec<Side>,
    pub value: f64,
}

/// What goes left.
#[derive(Clone, Debug)]
enum Test {
    Below { edge: f64, absent: bool },
    In(Vec<bool>),
}

struct Split {
    feature: usize,
    test: Test,
    gain: f64,
}

struct Open {
    samples: Vec<Sample>,
    sides: Vec<Side>,
    depth: u32,
}

impl Test {
    fn is_left(&self, entry: f64) -> bool {
        match self {
            Self::Below { absent, .. } if entry.is_nan() => *absent,
            Self::Below { edge, .. } => entry < *edge,
            Self::In(set) if entry.is_nan() => set[set.len() - 1],
            Self::In(set) => set[entry as usize],
        }
    }

    /// The two halves of a side.
    fn halves(&self, side: &Side) -> (Side, Side) {
        match (self, side) {
            (Self::Below { edge, absent: left }, Side::Range { low, high, absent }) => {
                let edge = edge.min(*high);
                (
                    Side::Range { low: *low, high: edge, absent: *absent && *left },
                    Side::Range { low: edge, high: *high, absent: *absent && !*left },
                )
            }
            (Self::In(left), Side::Set(set)) => {
                let both =
                    |wanted: bool| set.iter().zip(left).map(|(in_set, left)| *in_set && *left == wanted).collect();
                (Side::Set(both(true)), Side::Set(both(false)))
            }
            // A feature is split by the test of its own kind.
            (_, side) => (side.clone(), side.clone()),
        }
    }
}

/// Grows a tree until its leaves are small or even.
pub(super) fn grow(features: &[Feature], samples: Vec<Sample>, stream: &mut Stream) -> Vec<Leaf> {
    let whole = |feature: &Feature| match &feature.kind {
        Kind::Category(shares) => {
            let mut set = vec![true; shares.count() + 1];
            set[shares.count()] = feature.absent > 0.0;
            Side::Set(set)
        }
        Kind::Continuous | Kind::Steps(_) => Side::Range { low: 0.0, high: 1.0, absent: feature.absent > 0.0 },
    };
    let mut open = vec![Open { samples, sides: features.iter().map(whole).collect(), depth: 0 }];
    let mut leaves = Vec::new();
    while let Some(Open { samples, sides, depth }) = open.pop() {
        let Some(Split { feature, test, .. }) =
            (depth < DEPTH_MAX).then(|| split(features, &samples, stream)).flatten()
        else {
            let value = samples.iter().fold(0.0, |sum, sample| sum + sample.value) / samples.len().max(1) as f64;
            leaves.push(Leaf { sides, value });
            continue;
        };
        let (left, right) = test.halves(&sides[feature]);
        let (below, above) = samples.into_iter().partition(|sample| test.is_left(sample.entries[feature]));
        let (mut left_sides, mut right_sides) = (sides.clone(), sides);
        left_sides[feature] = left;
        right_sides[feature] = right;
        open.push(Open { samples: above, sides: right_sides, depth: depth + 1 });
        open.push(Open { samples: below, sides: left_sides, depth: depth + 1 });
    }
    leaves
}

/// The best split over features in random order; more than the usual part of them is tried only while none helps.
fn split(features: &[Feature], samples: &[Sample], stream: &mut Stream) -> Option<Split> {
    let total = Sum::of(samples.iter().map(|sample| sample.value));
    let squares = samples.iter().fold(0.0, |sum, sample| sum + sample.value * sample.value);
    if samples.len() < 2 * LEAF_MIN || squares - total.explained() <= NOISE {
        return None;
    }
    let mut order: Vec<usize> = (0..features.len()).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, stream.below(last + 1));
    }
    let tried = (TRIED * order.len() as f64).ceil() as usize;
    let mut best: Option<Split> = None;
    for (count, feature) in order.into_iter().enumerate() {
        if count >= tried && best.is_some() {
            break;
        }
        let search = Search { feature, total, samples };
        let found = match &features[feature].kind {
            Kind::Continuous => search.ordered(|low, high| low + 0.5 * (high - low)),
            Kind::Steps(shares) => {
                search.ordered(|low, high| shares.end((shares.index(low) + shares.index(high) - 1) / 2))
            }
            Kind::Category(shares) => search.sets(shares.count() + 1),
        };
        let better = |found: &Split| found.gain > best.as_ref().map_or(NOISE, |best| best.gain);
        if let Some(found) = found.filter(better) {
            best = Some(found);
        }
    }
    best
}

/// A count and a sum of values.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: usize,
    sum: f64,
}

impl Sum {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        values.fold(Self::default(), |sum, value| sum.plus(Self { count: 1, sum: value }))
    }

    fn plus(self, other: Self) -> Self {
        Self { count: self.count + other.count, sum: self.sum + other.sum }
    }

    fn minus(self, other: Self) -> Self {
        Self { count: self.count - other.count, sum: self.sum - other.sum }
    }

    /// What a mean of so many takes out of the sum of squares.
    fn explained(self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum * self.sum / self.count as f64 }
    }
}

struct Search<'a> {
    feature: usize,
    total: Sum,
    samples: &'a [Sample],
}

impl Search<'_> {
    /// What a split with `left` on one side takes out of the sum of squares; none when a side is too small.
    fn gain(&self, left: Sum) -> Option<f64> {
        let right = self.total.minus(left);
        let large = left.count >= LEAF_MIN && right.count >= LEAF_MIN;
        large.then(|| left.explained() + right.explained() - self.total.explained())
    }

    fn offer(&self, best: &mut Option<Split>, left: Sum, test: impl FnOnce() -> Test) {
        let Some(gain) = self.gain(left) else { return };
        if best.as_ref().is_none_or(|best| gain > best.gain) {
            *best = Some(Split { feature: self.feature, test: test(), gain });
        }
    }

    /// Between two neighbours, with those that have no entry on either side or by themselves.
    fn ordered(&self, edge: impl Fn(f64, f64) -> f64) -> Option<Split> {
        let mut entries: Vec<(f64, f64)> = Vec::with_capacity(self.samples.len());
        let mut absent = Sum::default();
        for sample in self.samples {
            match sample.entries[self.feature] {
                entry if entry.is_nan() => absent = absent.plus(Sum { count: 1, sum: sample.value }),
                entry => entries.push((entry, sample.value)),
            }
        }
        entries.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut best = None;
        let mut left = Sum::default();
        for pair in entries.windows(2) {
            left = left.plus(Sum { count: 1, sum: pair[0].1 });
            if pair[0].0 == pair[1].0 {
                continue;
            }
            let test = |absent| Test::Below { edge: edge(pair[0].0, pair[1].0), absent };
            self.offer(&mut best, left, || test(false));
            if absent.count > 0 {
                self.offer(&mut best, left.plus(absent), || test(true));
            }
        }
        if absent.count > 0 {
            self.offer(&mut best, self.total.minus(absent), || Test::Below { edge: 1.0, absent: false });
        }
        best
    }

    /// Between sets of values: in the order of their means, the best two sets are neighbours (Breiman and others,
    /// "Classification and Regression Trees", section 8.8). Values that no sample has go to the larger side.
    fn sets(&self, count: usize) -> Option<Split> {
        let mut sums = vec![Sum::default(); count];
        for sample in self.samples {
            let entry = sample.entries[self.feature];
            let at = if entry.is_nan() { count - 1 } else { entry as usize };
            sums[at] = sums[at].plus(Sum { count: 1, sum: sample.value });
        }
        let mut seen: Vec<usize> = (0..count).filter(|at| sums[*at].count > 0).collect();
        let mean = |at: usize| sums[at].sum / sums[at].count as f64;
        seen.sort_by(|a, b| mean(*a).total_cmp(&mean(*b)).then(a.cmp(b)));
        let mut best = None;
        let mut left = Sum::default();
        for taken in 1..seen.len() {
            left = left.plus(sums[seen[taken - 1]]);
            let set = || {
                let mut set = vec![2 * left.count > self.total.count; count];
                seen.iter().enumerate().for_each(|(place, at)| set[*at] = place < taken);
                Test::In(set)
            };
            self.offer(&mut best, left, set);
        }
        best
    }
}
