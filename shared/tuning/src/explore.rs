//! The parameters of a child in population-based training: those of a donor, explored.
//!
//! Each number depends on the seed, the proposal's number and the parameter's name alone, so that neither the order of
//! calls nor another parameter can disturb it.

use serde::{Deserialize, Serialize};

use crate::activity::Plan;
use crate::bayes::dims::is_ordered;
use crate::distribution::Manner;
use crate::lattice::from_step;
use crate::sampler::Draw;
use crate::sobol;
use crate::space::{Distribution, SearchSpace};
use crate::value::Value;

/// What a number is multiplied with: the paper's factors.
const DOWN: f64 = 0.8;
/// See [`DOWN`].
const UP: f64 = 1.2;

/// What exploration did to a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Drawn anew from its distribution.
    Resampled,
    /// Drawn from its distribution, since the donor does not have it.
    Drawn,
    /// A fifth more, as far as the space reaches; where values stand apart, at least the next one up.
    Raised,
    /// A fifth less, as far as the space reaches; where values stand apart, at least the next one down.
    Lowered,
    /// As the donor has it: a choice without an order, a zero, or the end of the space.
    Kept,
}

/// A parameter of a child.
#[derive(Clone, Debug, PartialEq)]
pub struct Explored {
    /// What it is.
    pub draw: Draw,
    /// How it came about.
    pub change: Change,
}

/// Which of so many donors the proposal with this number follows.
pub fn donor_of(seed: u64, proposal: u64, donors: usize) -> usize {
    let place = Numbers::new(seed, proposal, "donor", "").next() * donors as f64;
    (place as usize).min(donors.saturating_sub(1))
}

/// The active parameters of the proposal with this number when it follows a donor with these parameters.
pub fn explore(
    space: &SearchSpace,
    donor: &[Draw],
    resample_probability: f64,
    seed: u64,
    proposal: u64,
) -> Vec<Explored> {
    let plan = Plan::new(space);
    let mut found: Vec<Option<Explored>> = vec![None; plan.parameters.len()];
    plan.resolve(|place| {
        let parameter = &plan.parameters[place];
        let mut numbers = Numbers::new(seed, proposal, "explore", &parameter.name);
        let (chance, u, side) = (numbers.next(), numbers.next(), numbers.next());
        let before = donor.iter().find(|draw| draw.name == parameter.name);
        let drawn = |change| {
            let draw = Draw { name: parameter.name.clone(), u, value: space.value_of(place, u) };
            Explored { draw, change }
        };
        let explored = match before {
            None => drawn(Change::Drawn),
            Some(_) if chance < resample_probability => drawn(Change::Resampled),
            Some(before) => perturbed(space, place, before, side >= 0.5),
        };
        let value = explored.draw.value.clone();
        found[place] = Some(explored);
        value
    });
    found.into_iter().flatten().collect()
}

/// A parameter one step up or down. What the space cannot reach stays as it is.
fn perturbed(space: &SearchSpace, place: usize, before: &Draw, up: bool) -> Explored {
    let distribution = &space.parameters[place].distribution;
    let manner = Manner::of(space);
    let moved = neighbour(distribution, manner, &before.value, up);
    let draw = moved.and_then(|value| space.draw_of(place, &value).ok());
    match draw.filter(|draw| draw.value != before.value) {
        Some(draw) => Explored { draw, change: if up { Change::Raised } else { Change::Lowered } },
        None => Explored { draw: before.clone(), change: Change::Kept },
    }
}

/// The value next to another one; `None` when there is none on that side.
fn neighbour(distribution: &Distribution, manner: Manner, value: &Value, up: bool) -> Option<Value> {
    if let Distribution::Choice { values, ordered, .. } = distribution {
        if !ordered && !is_ordered(values) {
            return None;
        }
        let at = values.iter().position(|known| known == value)?;
        // Values that fall are raised by going back in the list.
        let falls = values.first().and_then(Value::as_number) > values.last().and_then(Value::as_number);
        let next = if up != falls { at.checked_add(1)? } else { at.checked_sub(1)? };
        return values.get(next).cloned();
    }
    let x = value.as_number()?;
    // Upwards is away from zero for what is above it, and towards it for what is below: both times by a fifth.
    let target = x * if up == (x >= 0.0) { UP } else { DOWN };
    if let Some(integers) = distribution.integers() {
        let index = |x: f64| (x - integers.first) / integers.step;
        return Some(Value::Number(integers.value(stepped(index(x), index(target), 1.0, up).max(0.0))));
    }
    let bounded = distribution.bounds(manner).map_or(target, |(low, high)| target.max(low).min(high));
    let Some(q) = distribution.quantum() else { return Some(Value::Number(bounded)) };
    let wanted = from_step(stepped(x / q, target / q, 1.0, up), q);
    let value = match (distribution.lattice(manner), distribution.bounds(manner)) {
        (Some(lattice), _) => lattice.nearest(wanted),
        (None, Some((low, high))) => wanted.max(low).min(high),
        (None, None) => wanted,
    };
    Some(Value::Number(value))
}

/// The whole number nearest to a target, at least one step away.
fn stepped(from: f64, target: f64, step: f64, up: bool) -> f64 {
    let (from, target) = (from.round_ties_even(), target.round_ties_even());
    if up { target.max(from + step) } else { target.min(from - step) }
}

/// Uniform numbers strictly between 0 and 1: BLAKE3("trialog.pbt.1" || seed u64 || proposal u64 || purpose || 0 ||
/// name), integers little endian, read as an endless output.
struct Numbers {
    reader: blake3::OutputReader,
}

impl Numbers {
    fn new(seed: u64, proposal: u64, purpose: &str, name: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"trialog.pbt.1").update(&seed.to_le_bytes()).update(&proposal.to_le_bytes());
        hasher.update(purpose.as_bytes()).update(&[0]).update(name.as_bytes());
        Self { reader: hasher.finalize_xof() }
    }

    fn next(&mut self) -> f64 {
        let mut bytes = [0; 8];
        self.reader.fill(&mut bytes);
        crate::sampler::unit(u64::from_le_bytes(bytes) >> (64 - sobol::BITS))
    }
}
