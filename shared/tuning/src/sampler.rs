//! The samplers: a proposal as a pure function of space, sampler, seed, number and what was proposed before.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

use crate::activity::Plan;
use crate::distribution::{Manner, Size};
use crate::grid::Grid;
use crate::sobol;
use crate::space::{Issue, SearchSpace};
use crate::value::{Configuration, Value};

/// How often `random` draws again for a configuration that was not proposed before.
const REDRAWS_MAX: u32 = 100;
/// Sobol indices that one proposal may pass over in a finite space: at least, at most, and for each configuration of
/// the space. A space in which so many points bring nothing new is used up.
const SCAN_MIN: u128 = 1024;
/// See [`SCAN_MIN`].
const SCAN_MAX: u128 = 65_536;
/// See [`SCAN_MIN`].
const SCAN_PER_CONFIGURATION: u128 = 64;

/// Which numbers `random` is fed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Rule {
    /// Independent draws, keyed by the parameter's name.
    #[default]
    Random,
    /// Owen-scrambled Sobol points.
    Sobol,
}

/// Which model `bayesian` proposes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Method {
    /// Picked, and changed, by the space and the budget; each proposal says by what it was made.
    #[default]
    Auto,
    /// A Gaussian process.
    Gp,
    /// Tree-structured Parzen estimators.
    Tpe,
    /// Covariance matrix adaptation.
    CmaEs,
}

/// The sampling algorithm as it is declared and stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SamplerSpec {
    /// Draws from the distributions.
    Random {
        /// Independent or quasi-random.
        #[serde(default)]
        rule: Rule,
    },
    /// Each active combination once, row-major in the written order.
    Grid,
    /// From a model of what was observed.
    Bayesian {
        /// Which model.
        #[serde(default)]
        method: Method,
    },
}

/// The value of one active parameter and the uniform number behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draw {
    /// The parameter.
    pub name: String,
    /// The uniform number in (0, 1); for a grid the middle of the value's share.
    pub u: f64,
    /// What it became.
    pub value: Value,
}

/// The parameters proposed for one trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Active parameters in written order.
    pub draws: Vec<Draw>,
    /// The index of the Sobol point or grid cell that was used; the proposal's number with `random`.
    pub index: u64,
    /// How often `random` had to draw again.
    pub redraw: u32,
}

impl Proposal {
    /// The values by name.
    pub fn configuration(&self) -> Configuration {
        self.draws.iter().map(|draw| (draw.name.clone(), draw.value.clone())).collect()
    }
}

impl SamplerSpec {
    /// The name in documents.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Random { .. } => "random",
            Self::Grid => "grid",
            Self::Bayesian { .. } => "bayesian",
        }
    }

    /// Everything in the space that this sampler cannot work with. `trials`: the trial limit, if it is known.
    pub fn check(&self, space: &SearchSpace, trials: Option<u64>) -> Vec<Issue> {
        match self {
            Self::Random { .. } => Vec::new(),
            Self::Bayesian { .. } => {
                let mut issues = Vec::new();
                if space.logbase.is_some() {
                    let message = "logbase goes with random only; remove it".to_owned();
                    issues.push(Issue::error("", "logbase", "BadLogbase", message));
                }
                if space.compat {
                    issues.extend(crate::compat::check_bayesian(space));
                }
                issues
            }
            Self::Grid => crate::grid::check(space, trials),
        }
    }
}

/// The next proposal; `None` when the space is used up. The first one has the defaults of the parameters that declare
/// one, except in a grid.
///
/// `proposal` is its number from 0, `next_index` the first Sobol or grid index not yet used (one more than the last
/// proposal's), `taken` says whether a configuration was proposed before.
pub fn propose(
    space: &SearchSpace,
    sampler: &SamplerSpec,
    seed: u64,
    proposal: u64,
    next_index: u64,
    taken: &dyn Fn(&Configuration) -> bool,
) -> Option<Proposal> {
    let plan = Plan::new(space);
    let manner = Manner::of(space);
    match sampler {
        SamplerSpec::Random { rule: Rule::Random } => {
            let fresh = |redraw: &u32| {
                let u = |place: usize| random_u(seed, proposal, *redraw, &plan.parameters[place].name);
                let first = (proposal == 0 && *redraw == 0).then_some(space);
                let drawn = Proposal { draws: draw(&plan, manner, first, u), index: proposal, redraw: *redraw };
                (!taken(&drawn.configuration())).then_some(drawn)
            };
            (0..=REDRAWS_MAX).find_map(|redraw| fresh(&redraw))
        }
        // Without a model, `bayesian` begins with the same even points.
        SamplerSpec::Random { rule: Rule::Sobol } | SamplerSpec::Bayesian { .. } => {
            let keys: Vec<u64> = (0..plan.parameters.len().min(sobol::DIMENSIONS) as u32)
                .map(|j| sobol::dimension_key(seed, j))
                .collect();
            if keys.len() < plan.parameters.len() {
                return None;
            }
            let scan = finite_size(space)
                .map_or(SCAN_MAX, |size| size.saturating_mul(SCAN_PER_CONFIGURATION).clamp(SCAN_MIN, SCAN_MAX));
            (next_index..next_index.saturating_add(scan as u64)).find_map(|index| {
                let u = |place: usize| unit(sobol::scramble(sobol::coordinate(index, place), keys[place]));
                let first = (proposal == 0 && index == next_index).then_some(space);
                let drawn = Proposal { draws: draw(&plan, manner, first, u), index, redraw: 0 };
                (!taken(&drawn.configuration())).then_some(drawn)
            })
        }
        SamplerSpec::Grid => {
            let grid = Grid::new(&plan, manner)?;
            let mut index = next_index;
            loop {
                let cell = grid.cell_from(index)?;
                if !taken(&cell.configuration()) {
                    return Some(cell);
                }
                index = cell.index.checked_add(1)?;
            }
        }
    }
}

impl SearchSpace {
    /// The value of the parameter at `place` for a uniform number strictly between 0 and 1, whether it is active or
    /// not.
    ///
    /// # Panics
    /// When there is no parameter at `place`.
    pub fn value_of(&self, place: usize, u: f64) -> Value {
        self.parameters[place].distribution.value(u, Manner::of(self))
    }

    /// A proposal of a model with the values that this space's version gives for its numbers. The numbers are the same
    /// in all versions; values without steps stay as they are.
    #[must_use]
    pub fn revalued(&self, mut proposal: Proposal) -> Proposal {
        for draw in &mut proposal.draws {
            let place = self.parameters.iter().position(|parameter| parameter.name == draw.name);
            if let Some(place) = place.filter(|place| self.parameters[*place].distribution.is_discrete()) {
                draw.value = self.value_of(place, draw.u);
            }
        }
        proposal
    }
}

/// How many configurations the space has; `None` when infinitely many, or too entangled to count.
pub fn finite_size(space: &SearchSpace) -> Option<u128> {
    let manner = Manner::of(space);
    crate::count::combinations(&Plan::new(space), |parameter| match parameter.distribution.size(manner) {
        Size::Finite(count) => Some(count),
        Size::Infinite => None,
    })
}

/// The seed that a trial's program is given, the same at every attempt.
pub fn trial_seed(seed: u64, trial_index: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"trialog.seed.1").update(&seed.to_le_bytes()).update(&trial_index.to_le_bytes());
    sobol::first_eight(&hasher.finalize())
}

/// The middle of cell k of 2^52.
pub(crate) fn unit(k: u64) -> f64 {
    /// 2^-52.
    const CELL: f64 = f64::EPSILON;
    (k as f64 + 0.5) * CELL
}

/// Keyed by the name, so that neither the order of calls nor an added parameter can disturb another.
fn random_u(seed: u64, proposal: u64, redraw: u32, name: &str) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"trialog.random.1").update(&seed.to_le_bytes()).update(&proposal.to_le_bytes());
    hasher.update(&redraw.to_le_bytes()).update(name.as_bytes());
    unit(sobol::first_eight(&hasher.finalize()) >> (64 - sobol::BITS))
}

/// `defaults`: the space whose defaults are in force, for the first proposal.
fn draw(plan: &Plan<'_>, manner: Manner, defaults: Option<&SearchSpace>, u: impl Fn(usize) -> f64) -> Vec<Draw> {
    let mut numbers = vec![0.0; plan.parameters.len()];
    let values = plan.resolve(|place| {
        let parameter = &plan.parameters[place];
        let given = defaults.zip(parameter.default.as_ref());
        if let Some(given) = given.and_then(|(space, value)| space.draw_of(place, value).ok()) {
            numbers[place] = given.u;
            return given.value;
        }
        numbers[place] = u(place);
        parameter.distribution.value(numbers[place], manner)
    });
    let named = plan.parameters.iter().zip(numbers).zip(values);
    named.filter_map(|((parameter, u), value)| Some(Draw { name: parameter.name.clone(), u, value: value? })).collect()
}
