//! The search space as the models see it: rows of the unit cube.
//!
//! A row has one number a parameter: the middle of the value's share of u for everything that has few values, the
//! number of the value for a nominal choice, u itself for the rest, and NaN for a parameter that is inactive. Two
//! configurations that run the same have the same row.

use std::collections::HashMap;

use crate::activity::Plan;
use crate::distribution::Manner;
use crate::sampler::{Draw, Proposal};
use crate::space::{Distribution, Parameter, SearchSpace};
use crate::value::Value;

/// A parameter with more values than this is continuous to the models. Finding the shares costs 52 draws a value.
const STEPS_MAX: usize = 1024;
/// The smallest and the largest u that a sampler gives.
const U_MIN: f64 = f64::EPSILON / 2.0;

/// One number a parameter; see the module.
pub(crate) type Row = Vec<f64>;

/// The values of a parameter that has few of them, by their shares of u.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    /// Where one value ends and the next begins.
    edges: Vec<f64>,
    /// The middle of each share.
    pub middles: Vec<f64>,
    values: Vec<Value>,
}

impl Shares {
    pub(crate) fn index(&self, u: f64) -> usize {
        self.edges.partition_point(|edge| *edge <= u)
    }

    pub(crate) fn count(&self) -> usize {
        self.middles.len()
    }

    /// Where the share at `index` ends; 1 for the last one.
    pub(crate) fn end(&self, index: usize) -> f64 {
        self.edges.get(index).copied().unwrap_or(1.0)
    }
}

/// How a parameter enters a row.
#[derive(Clone, Debug)]
pub(crate) enum Dim {
    /// u itself.
    Continuous,
    /// Numbers in order: the middle of the share.
    Steps(Shares),
    /// Values without an order: their number.
    Category(Shares),
}

/// Who must have which values for a parameter to be active: (parent, by the number of its value).
type Links = Vec<(usize, Vec<Value>)>;

/// The space, read once.
#[derive(Clone, Debug)]
pub(crate) struct Dims {
    pub parameters: Vec<Parameter>,
    pub dims: Vec<Dim>,
    manner: Manner,
    links: Vec<Links>,
    order: Vec<usize>,
    /// How many configurations there are, if that is known to be finite.
    pub size: Option<u128>,
}

impl Dims {
    pub(crate) fn new(space: &SearchSpace) -> Self {
        let plan = Plan::new(space);
        let manner = Manner::of(space);
        let links = plan
            .links
            .iter()
            .map(|links| links.iter().map(|link| (link.parent, link.values.to_vec())).collect())
            .collect();
        let dims = space.parameters.iter().map(|parameter| dim(&parameter.distribution, manner)).collect();
        let order = plan.order.clone();
        let size = crate::sampler::finite_size(space);
        Self { parameters: space.parameters.clone(), dims, manner, links, order, size }
    }

    pub(crate) fn len(&self) -> usize {
        self.dims.len()
    }

    /// The row of a point of the unit cube.
    pub(crate) fn row(&self, u: &[f64]) -> Row {
        let mut row = vec![f64::NAN; self.len()];
        for &place in &self.order {
            if self.links[place].iter().all(|(parent, values)| self.holds(*parent, values, row[*parent])) {
                row[place] = self.canonical(place, u[place]);
            }
        }
        row
    }

    /// What u of one parameter is in a row.
    pub(crate) fn canonical(&self, place: usize, u: f64) -> f64 {
        match &self.dims[place] {
            Dim::Continuous => u.clamp(U_MIN, 1.0 - U_MIN),
            Dim::Steps(shares) => shares.middles[shares.index(u)],
            Dim::Category(shares) => shares.index(u) as f64,
        }
    }

    /// A u that gives the entry of a row.
    pub(crate) fn u(&self, place: usize, entry: f64) -> f64 {
        match &self.dims[place] {
            Dim::Continuous | Dim::Steps(_) => entry,
            Dim::Category(shares) => shares.middles[(entry as usize).min(shares.count() - 1)],
        }
    }

    fn holds(&self, parent: usize, values: &[Value], entry: f64) -> bool {
        !entry.is_nan() && values.contains(&self.value(parent, entry))
    }

    fn value(&self, place: usize, entry: f64) -> Value {
        match &self.dims[place] {
            Dim::Continuous => self.parameters[place].distribution.value(entry, self.manner),
            Dim::Steps(shares) => shares.values[shares.index(entry)].clone(),
            Dim::Category(shares) => shares.values[(entry as usize).min(shares.count() - 1)].clone(),
        }
    }

    /// What makes two rows the same configuration: the bits of the entries, and of the value where many u's give one.
    pub(crate) fn key(&self, row: &[f64]) -> Vec<u64> {
        let keyed = row.iter().enumerate().map(|(place, entry)| {
            let distribution = &self.parameters[place].distribution;
            let many = matches!(self.dims[place], Dim::Continuous)
                && (distribution.quantum().is_some() || distribution.integers().is_some());
            match many.then(|| self.value(place, *entry)) {
                Some(Value::Number(number)) if !entry.is_nan() => number.to_bits(),
                _ => entry.to_bits(),
            }
        });
        keyed.collect()
    }

    /// The row of a recorded proposal.
    pub(crate) fn row_of(&self, draws: &[Draw]) -> Row {
        let by_name: HashMap<&str, f64> = draws.iter().map(|draw| (draw.name.as_str(), draw.u)).collect();
        let recorded = self.parameters.iter().enumerate().map(|(place, parameter)| {
            by_name.get(parameter.name.as_str()).map_or(f64::NAN, |u| self.canonical(place, *u))
        });
        recorded.collect()
    }

    /// The proposal of a row.
    pub(crate) fn proposal(&self, row: &[f64], index: u64) -> Proposal {
        let active = row.iter().enumerate().filter(|(_, entry)| !entry.is_nan());
        let draws = active.map(|(place, entry)| {
            let (name, u) = (self.parameters[place].name.clone(), self.u(place, *entry));
            Draw { name, u, value: self.parameters[place].distribution.value(u, self.manner) }
        });
        Proposal { draws: draws.collect(), index, redraw: 0 }
    }
}

fn dim(distribution: &Distribution, manner: Manner) -> Dim {
    match distribution {
        Distribution::Choice { values, ordered, .. } => {
            let shares = shares(distribution, manner).unwrap_or_else(|| Shares {
                edges: Vec::new(),
                middles: vec![0.5],
                values: values.iter().take(1).cloned().collect(),
            });
            if *ordered || is_ordered(values) { Dim::Steps(shares) } else { Dim::Category(shares) }
        }
        _ if distribution.integers().is_some() || distribution.quantum().is_some() => {
            shares(distribution, manner).map_or(Dim::Continuous, Dim::Steps)
        }
        _ => Dim::Continuous,
    }
}

/// Numbers that only rise or only fall have an order, whether the document says so or not.
pub(crate) fn is_ordered(values: &[Value]) -> bool {
    let numbers: Vec<f64> = values.iter().filter_map(Value::as_number).collect();
    let monotone = |less: fn(&f64, &f64) -> bool| numbers.windows(2).all(|pair| less(&pair[0], &pair[1]));
    values.len() > 2 && numbers.len() == values.len() && (monotone(|a, b| a < b) || monotone(|a, b| a > b))
}

/// Walks over the values in order of u; `None` when there are too many.
fn shares(distribution: &Distribution, manner: Manner) -> Option<Shares> {
    let value = |u: f64| distribution.value(u, manner);
    let (mut edges, mut middles, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let mut from = U_MIN;
    loop {
        let here = value(from);
        if value(1.0 - U_MIN) == here {
            middles.push(from + 0.5 * (1.0 - U_MIN - from));
            values.push(here);
            return Some(Shares { edges, middles, values });
        }
        // The largest u with this value lies in [low, high).
        let (mut low, mut high) = (from, 1.0 - U_MIN);
        loop {
            let middle = low + 0.5 * (high - low);
            if middle <= low || middle >= high {
                break;
            }
            if value(middle) == here { low = middle } else { high = middle }
        }
        middles.push(from + 0.5 * (low - from));
        values.push(here);
        edges.push(high);
        from = high;
        if middles.len() >= STEPS_MAX {
            return None;
        }
    }
}

impl Dims {
    /// Every configuration of a finite space, the last parameter fastest; some more than once where conditions hold.
    pub(crate) fn walk(&self) -> impl Iterator<Item = Row> + '_ {
        let counts: Vec<usize> = self
            .dims
            .iter()
            .map(|dim| match dim {
                Dim::Continuous => 1,
                Dim::Steps(shares) | Dim::Category(shares) => shares.count(),
            })
            .collect();
        let mut at = Some(vec![0_usize; self.len()]);
        std::iter::from_fn(move || {
            let here = at.clone()?;
            let mut next = here.clone();
            at = (0..next.len()).rev().find_map(|place| {
                next[place] += 1;
                if next[place] < counts[place] {
                    return Some(next.clone());
                }
                next[place] = 0;
                None
            });
            let u: Vec<f64> = here
                .iter()
                .zip(&self.dims)
                .map(|(index, dim)| match dim {
                    Dim::Continuous => 0.5,
                    Dim::Steps(shares) | Dim::Category(shares) => shares.middles[*index],
                })
                .collect();
            Some(self.row(&u))
        })
    }
}
