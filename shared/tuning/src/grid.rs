//! Grids: the active combinations of finite parameters, once each, from a cursor that can be resumed.

use crate::activity::Plan;
use crate::count;
use crate::distribution::Manner;
use crate::integers::Integers;
use crate::lattice::Lattice;
use crate::sampler::{Draw, Proposal};
use crate::space::{Distribution, Issue, Parameter, SearchSpace};
use crate::value::Value;

/// The values of one parameter of a grid.
#[derive(Debug)]
enum Axis<'a> {
    Listed(&'a [Value]),
    Integers(Integers),
    Multiples(Lattice),
}

impl<'a> Axis<'a> {
    fn new(parameter: &'a Parameter, manner: Manner) -> Option<Self> {
        match &parameter.distribution {
            Distribution::Choice { values, .. } => Some(Self::Listed(values)),
            distribution @ (Distribution::Randint { grid_points: true, .. }
            | Distribution::IntUniform { grid_points: true, .. })
                if !manner.compat =>
            {
                distribution.integers().map(Self::Integers)
            }
            distribution @ (Distribution::Quniform { grid_points: true, .. }
            | Distribution::QLogUniformValues { grid_points: true, .. }) => {
                distribution.lattice(manner).map(Self::Multiples)
            }
            _ => None,
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Listed(values) => values.len() as u64,
            Self::Integers(integers) => integers.count,
            Self::Multiples(lattice) => lattice.count(),
        }
    }

    fn value(&self, digit: u64) -> Value {
        match self {
            Self::Listed(values) => values[digit as usize].clone(),
            Self::Integers(integers) => Value::Number(integers.value(digit as f64)),
            Self::Multiples(lattice) => Value::Number(lattice.value(digit)),
        }
    }
}

/// A grid over a space. A cell's index is its place in the full row-major product, in which the last parameter turns
/// fastest; an inactive parameter stands at its first value, and products where it does not are passed over.
#[derive(Debug)]
pub(crate) struct Grid<'p, 'a> {
    plan: &'p Plan<'a>,
    axes: Vec<Axis<'a>>,
    /// For each parameter, the last place that its activity depends on.
    decided_at: Vec<usize>,
    product: u64,
    manner: Manner,
}

impl<'p, 'a> Grid<'p, 'a> {
    /// `None` when a parameter cannot be enumerated, has no value, or the product overflows.
    pub(crate) fn new(plan: &'p Plan<'a>, manner: Manner) -> Option<Self> {
        let axes: Vec<Axis<'a>> =
            plan.parameters.iter().map(|parameter| Axis::new(parameter, manner)).collect::<Option<_>>()?;
        let product = axes.iter().try_fold(1_u64, |product, axis| product.checked_mul(axis.len()))?;
        let mut decided_at: Vec<usize> = (0..axes.len()).collect();
        for &index in &plan.order {
            for link in &plan.links[index] {
                decided_at[index] = decided_at[index].max(decided_at[link.parent]);
            }
        }
        Some(Self { plan, axes, decided_at, product, manner })
    }

    /// The first cell at or after `index`; `None` behind the last.
    pub(crate) fn cell_from(&self, index: u64) -> Option<Proposal> {
        if index >= self.product {
            return None;
        }
        let mut digits = self.digits(index);
        loop {
            let values = self.plan.resolve(|place| self.axes[place].value(digits[place]));
            let idle = values.iter().zip(&digits).position(|(value, digit)| value.is_none() && *digit != 0);
            let Some(idle) = idle else {
                return Some(self.cell(&digits, values));
            };
            // Nothing behind this place can make the idle parameter active again, so the cells up to its next turn are
            // skipped.
            self.advance(&mut digits, self.decided_at[idle])?;
        }
    }

    fn digits(&self, index: u64) -> Vec<u64> {
        let mut rest = index;
        let mut digits: Vec<u64> = self
            .axes
            .iter()
            .rev()
            .map(|axis| {
                let digit = rest % axis.len();
                rest /= axis.len();
                digit
            })
            .collect();
        digits.reverse();
        digits
    }

    /// The next product in which the digit at `place`, or one before it, has changed.
    fn advance(&self, digits: &mut [u64], place: usize) -> Option<()> {
        digits[place + 1..].fill(0);
        for at in (0..=place).rev() {
            digits[at] += 1;
            if digits[at] < self.axes[at].len() {
                return Some(());
            }
            digits[at] = 0;
        }
        None
    }

    fn cell(&self, digits: &[u64], values: Vec<Option<Value>>) -> Proposal {
        let index = self.axes.iter().zip(digits).fold(0, |index, (axis, digit)| index * axis.len() + digit);
        let placed = values.into_iter().enumerate();
        let draws = placed.filter_map(|(place, value)| {
            let (value, parameter) = (value?, &self.plan.parameters[place]);
            let even = (digits[place] as f64 + 0.5) / self.axes[place].len() as f64;
            let u = match &parameter.distribution {
                // The shares of u that give these are far from equal, and models read u.
                log @ Distribution::QLogUniformValues { .. } => log.locate(&value, self.manner).unwrap_or(even),
                _ => even,
            };
            Some(Draw { name: parameter.name.clone(), u, value })
        });
        Proposal { draws: draws.collect(), index, redraw: 0 }
    }
}

/// How many cells a grid over the space has; `Ok(None)` when its conditions are too entangled to count.
///
/// # Errors
/// `GridNeedsChoice` for the first parameter that cannot be enumerated, `GridTooLarge` when the product overflows 64
/// bits.
pub fn grid_size(space: &SearchSpace) -> Result<Option<u64>, Issue> {
    let manner = Manner::of(space);
    let plan = Plan::new(space);
    let mut product = Some(1_u64);
    for parameter in plan.parameters {
        let axis = Axis::new(parameter, manner).ok_or_else(|| needs_choice(parameter, space.compat))?;
        product = product.and_then(|product| product.checked_mul(axis.len()));
    }
    if product.is_none() {
        let message = "the product of the numbers of values exceeds 2^64; give fewer values or use random".to_owned();
        return Err(Issue::error("", "", "GridTooLarge", message));
    }
    let count = count::combinations(&plan, |parameter| Axis::new(parameter, manner).map(|axis| axis.len()));
    Ok(count.and_then(|count| u64::try_from(count).ok()))
}

fn needs_choice(parameter: &Parameter, compat: bool) -> Issue {
    let (name, kind) = (&parameter.name, parameter.distribution.kind());
    let fix = match (kind, compat) {
        ("randint" | "int_uniform" | "quniform" | "q_log_uniform_values", false) => {
            "set grid_points: true or use random"
        }
        (_, false) => "use quniform points or random",
        (_, true) => "use choice or random",
    };
    Issue::error(name, "type", "GridNeedsChoice", format!("{name} is {kind}; grid accepts choice only; {fix}"))
}

/// The rules that only a grid has.
pub(crate) fn check(space: &SearchSpace, trials: Option<u64>) -> Vec<Issue> {
    let manner = Manner::of(space);
    let mut issues = Vec::new();
    for parameter in &space.parameters {
        if Axis::new(parameter, manner).is_none() {
            issues.push(needs_choice(parameter, space.compat));
        }
        if matches!(parameter.distribution, Distribution::Choice { weights: Some(_), .. }) {
            let message = format!("{}: a grid takes each value once; remove weights or use random", parameter.name);
            issues.push(Issue::error(&parameter.name, "weights", "BadWeights", message));
        }
        if parameter.default.is_some() {
            // A default in front would make the cursor, which is the whole memory of a grid, say something else.
            let message =
                format!("{}: a grid tries its values in written order; remove default or use random", parameter.name);
            issues.push(Issue::error(&parameter.name, "default", "BadDefault", message));
        }
    }
    if space.logbase.is_some() {
        let message = "logbase goes with random only; remove it".to_owned();
        issues.push(Issue::error("", "logbase", "BadLogbase", message));
    }
    if !issues.is_empty() {
        return issues;
    }
    match (grid_size(space), trials) {
        (Err(issue), _) => vec![issue],
        (Ok(Some(points)), Some(trials)) if points > trials => {
            let (points, trials) = (with_commas(points), with_commas(trials));
            vec![Issue::warning("", "", "GridTruncated", format!("{points} points, {trials} will run"))]
        }
        (Ok(_), _) => Vec::new(),
    }
}

/// 1200 as `1,200`.
fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
