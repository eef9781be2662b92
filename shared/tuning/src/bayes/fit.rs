//! Hyperparameters by maximum a posteriori.
//!
//! The marginal likelihood and its gradient: Rasmussen and Williams 2006, equations 5.8 and 5.9. The prior of the
//! lengthscales grows with the root of the dimension (Hvarfner et al. 2024, arXiv 2402.02229) and is taken over the
//! density of the lengthscale itself, so that its mode is well below its median.

use super::dims::{Dims, Row};
use super::gp::{Columns, Line, Shape, Weights};
use super::lanes;
use super::minimize::minimize;
use super::recipe::Recipe;

/// Bounds of a lengthscale, in units of the cube's side.
const LENGTHS: (f64, f64) = (0.01, 300.0);
/// Bounds of the natural logarithm of the noise variance; values have variance 1.
const LN_NOISE: (f64, f64) = (-13.815_510_557_964_274, 0.5);
/// Bounds of the natural logarithm of the output scale.
const LN_SCALE: (f64, f64) = (-4.0, 4.0);
/// Iterations from the last optimum, and from the prior's mode.
const ITERATIONS_WARM: usize = 15;
/// See [`ITERATIONS_WARM`].
const ITERATIONS_COLD: usize = 40;
/// A second start must be better by this much to be preferred, so that the choice does not hang on rounding.
const PREFERENCE: f64 = 1e-9;

/// Prior, starting point and bounds of the hyperparameters.
#[derive(Clone, Debug)]
pub(crate) struct Prior {
    pub start: Vec<f64>,
    centre: Vec<f64>,
    precision: Vec<f64>,
    /// Of the density of the lengthscale against that of its logarithm.
    slope: Vec<f64>,
    bounds: Vec<(f64, f64)>,
}

impl Prior {
    pub(crate) fn new(dims: &Dims, shape: &Shape, recipe: &Recipe) -> Self {
        let d = dims.len();
        let median = recipe.length_mean + 0.5 * libm::log(d as f64);
        let mut centre = vec![median; d];
        centre.extend([0.0, recipe.noise_mean]);
        let mut start = vec![median - recipe.length_variance; d];
        start.extend([0.0, recipe.noise_mean]);
        let mut precision = vec![1.0 / recipe.length_variance; d];
        precision.extend([1.0, 1.0 / (recipe.noise_spread * recipe.noise_spread)]);
        let mut slope = vec![1.0; d];
        slope.extend([0.0, 0.0]);
        let mut bounds = vec![(libm::log(LENGTHS.0), libm::log(LENGTHS.1)); d];
        bounds.push(if recipe.scale_free { LN_SCALE } else { (0.0, 0.0) });
        bounds.push(LN_NOISE);
        debug_assert_eq!(bounds.len(), shape.len());
        Self { start, centre, precision, slope, bounds }
    }
}

/// The hyperparameters of the highest posterior density that the search finds from the last optimum and, now and then,
/// from the prior's mode.
pub(crate) fn fit(shape: &Shape, prior: &Prior, data: &Data<'_>, last: Option<&[f64]>, cold: bool) -> Vec<f64> {
    let mut columns = Columns::new(shape);
    data.rows.iter().for_each(|row| columns.push(shape, row));
    let mut workspace = Workspace::default();
    let mut best: Option<super::minimize::Minimum> = None;
    let last = last.filter(|last| last.len() == shape.len());
    let starts = last
        .map(|last| (last, ITERATIONS_WARM))
        .into_iter()
        .chain((cold || last.is_none()).then_some((prior.start.as_slice(), ITERATIONS_COLD)));
    for (start, iterations) in starts {
        let found = minimize(start, &prior.bounds, iterations, |theta, gradient| {
            objective(shape, prior, &columns, data, theta, gradient, &mut workspace)
        });
        if found.value.is_finite() && best.as_ref().is_none_or(|best| found.value < best.value - PREFERENCE) {
            best = Some(found);
        }
    }
    best.map_or_else(|| prior.start.clone(), |best| best.x)
}

#[derive(Debug, Default)]
struct Workspace {
    line: Line,
    values: Vec<f64>,
    number_slopes: Vec<f64>,
    category_slopes: Vec<f64>,
    packed: Vec<f64>,
}

/// What is fitted to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Data<'a> {
    pub rows: &'a [Row],
    pub y: &'a [f64],
    /// How many times the noise each observation has.
    pub noise: &'a [f64],
}

/// The negative logarithm of likelihood times prior, and its gradient; NaN when the matrix has no factor.
fn objective(
    shape: &Shape,
    prior: &Prior,
    columns: &Columns,
    data: &Data<'_>,
    theta: &[f64],
    gradient: &mut [f64],
    work: &mut Workspace,
) -> f64 {
    let (rows, y, n) = (data.rows, data.y, data.rows.len());
    let weights = Weights::new(shape, theta);
    let scale = weights.output_scale;
    for buffer in [&mut work.values, &mut work.number_slopes, &mut work.category_slopes, &mut work.packed] {
        buffer.clear();
    }
    for (i, row) in rows.iter().enumerate() {
        work.line.fill(shape, &weights, columns, row, i);
        work.values.extend(work.line.values.iter().map(|value| scale * value));
        work.number_slopes.extend(work.line.number_slopes.iter().map(|slope| scale * slope));
        work.category_slopes.extend(work.line.category_slopes.iter().map(|slope| scale * slope));
        let covariances = &work.values[work.values.len() - i..];
        if !lanes::append_row(&mut work.packed, i, covariances, scale + data.noise[i] * weights.noise, 1e-12) {
            return f64::NAN;
        }
    }
    let mut alpha = y.to_vec();
    lanes::solve_lower(&work.packed, &mut alpha);
    lanes::solve_upper(&work.packed, &mut alpha);
    let diagonal = (0..n).map(|i| work.packed[i * (i + 3) / 2]);
    let ln_determinant: f64 = diagonal.map(libm::log).sum();
    let mut value = 0.5 * lanes::dot(y, &alpha) + ln_determinant;
    let inverse = lanes::invert(&work.packed, n);
    add_slopes(shape, columns, data, &weights, &alpha, &inverse, work, gradient);
    for (at, entry) in gradient.iter_mut().enumerate() {
        let off = theta[at] - prior.centre[at];
        value += 0.5 * prior.precision[at] * off * off + prior.slope[at] * theta[at];
        *entry = -*entry + prior.precision[at] * off + prior.slope[at];
    }
    value
}

/// The gradient of the logarithm of the likelihood (equation 5.9).
#[expect(clippy::too_many_arguments, reason = "the second half of one computation, split for its length")]
fn add_slopes(
    shape: &Shape,
    columns: &Columns,
    data: &Data<'_>,
    weights: &Weights,
    alpha: &[f64],
    inverse: &[f64],
    work: &Workspace,
    gradient: &mut [f64],
) {
    gradient.fill(0.0);
    let (n, noise) = (alpha.len(), weights.noise);
    let scale = weights.output_scale;
    let mut trace = 0.0;
    let mut by_scale = 0.0;
    let (mut number_pull, mut category_pull) = (Vec::new(), Vec::new());
    for i in 0..n {
        let (at, pairs) = (i * (i + 1) / 2, i * i.wrapping_sub(1) / 2);
        let own = 0.5 * (alpha[i] * alpha[i] - inverse[at + i]);
        trace += own * data.noise[i];
        by_scale += own * scale;
        number_pull.clear();
        category_pull.clear();
        for j in 0..i {
            // Both triangles at once: the half of the formula is gone.
            let m = alpha[i] * alpha[j] - inverse[at + j];
            by_scale += m * work.values[pairs + j];
            number_pull.push(m * work.number_slopes[pairs + j]);
            category_pull.push(m * work.category_slopes[pairs + j]);
        }
        for (places, pull) in [(&shape.numbers, &number_pull), (&shape.categories, &category_pull)] {
            let is_number = std::ptr::eq(places, &shape.numbers);
            for &place in places {
                let (column, weight) = (&columns.columns[place], weights.inverse_squares[place]);
                let here = column[i];
                let sum = if is_number {
                    lanes::dot_squares(pull, here, &column[..i])
                } else {
                    lanes::dot_mismatches(pull, here, &column[..i])
                };
                gradient[place] -= 2.0 * weight * sum;
            }
        }
    }
    gradient[shape.output_scale()] = by_scale;
    gradient[shape.noise()] = trace * noise;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayes::stream::Stream;
    use crate::space::{Distribution, Parameter, SearchSpace};

    #[test]
    fn the_gradient_is_the_slope() {
        let uniform = |name: &str| Parameter {
            name: name.to_owned(),
            distribution: Distribution::Uniform { min_value: 0.0, max_value: 1.0 },
            when: Vec::new(),
            default: None,
        };
        let values = ["a", "b", "c"].map(crate::value::Value::from).to_vec();
        let choice = Parameter {
            name: "c".to_owned(),
            distribution: Distribution::Choice { values, weights: None, ordered: false },
            when: Vec::new(),
            default: None,
        };
        let space = SearchSpace { parameters: vec![uniform("x"), choice, uniform("y")], ..SearchSpace::default() };
        let (dims, mut stream) = (Dims::new(&space), Stream::new(1, 2, "test"));
        for mixed in [false, true] {
            let recipe = Recipe { mixed, scale_free: true, ..Recipe::default() };
            let shape = Shape::new(&dims, &recipe);
            let prior = Prior::new(&dims, &shape, &recipe);
            let rows: Vec<Row> = (0..15).map(|_| dims.row(&[stream.unit(), stream.unit(), stream.unit()])).collect();
            let y: Vec<f64> = (0..15).map(|_| stream.normal()).collect();
            let noise: Vec<f64> = (0..15).map(|at| 1.0 + f64::from(at % 3)).collect();
            let data = Data { rows: &rows, y: &y, noise: &noise };
            let mut columns = Columns::new(&shape);
            rows.iter().for_each(|row| columns.push(&shape, row));
            let theta = [-0.5, 0.2, 0.4, 0.3, -1.5];
            let mut work = Workspace::default();
            let mut at = |theta: &[f64], gradient: &mut [f64]| {
                objective(&shape, &prior, &columns, &data, theta, gradient, &mut work)
            };
            let (mut gradient, mut unused) = (vec![0.0; 5], vec![0.0; 5]);
            at(&theta, &mut gradient);
            for place in 0..5 {
                let (mut up, mut down) = (theta, theta);
                up[place] += 1e-5;
                down[place] -= 1e-5;
                let slope = (at(&up, &mut unused) - at(&down, &mut unused)) / 2e-5;
                assert!((slope - gradient[place]).abs() < 1e-5, "mixed {mixed} {place}: {slope} {gradient:?}");
            }
        }
    }
}
