//! Minimisation inside a box.

/// Pairs of steps and gradient differences that are remembered: Liu and Nocedal (1989) find little gain above 5.
const MEMORY: usize = 5;
/// Sufficient decrease of Armijo's rule.
const DECREASE: f64 = 1e-4;
/// Halvings of a step before the search gives up.
const HALVINGS_MAX: u32 = 12;
/// The search ends when a step improves the value by less than this, relative to the value or to 1.
const TOLERANCE: f64 = 1e-9;
/// .. or when no entry of the projected gradient is larger than this.
const GRADIENT_TOLERANCE: f64 = 1e-6;

/// Where a search ended.
#[derive(Clone, Debug)]
pub(crate) struct Minimum {
    pub x: Vec<f64>,
    pub value: f64,
}

/// Limited-memory BFGS (Nocedal and Wright 2006, algorithm 7.4) with projection on the box `bounds`: entries that a
/// bound holds back are left out of the direction, steps are clipped to the box and shortened by halves until Armijo's
/// rule holds. `f` gives the value and writes the gradient; a value that is not finite is treated as a step too far.
pub(crate) fn minimize(
    start: &[f64],
    bounds: &[(f64, f64)],
    iterations: usize,
    mut f: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Minimum {
    let n = start.len();
    let mut x: Vec<f64> = start.iter().zip(bounds).map(|(v, (low, high))| v.clamp(*low, *high)).collect();
    let mut gradient = vec![0.0; n];
    let mut value = f(&x, &mut gradient);
    let mut pairs: Vec<(Vec<f64>, Vec<f64>, f64)> = Vec::new();
    let mut trial_gradient = vec![0.0; n];
    for _ in 0..iterations {
        let free: Vec<bool> =
            (0..n).map(|i| if gradient[i] > 0.0 { x[i] > bounds[i].0 } else { x[i] < bounds[i].1 }).collect();
        let steepest = (0..n).filter(|i| free[*i]).map(|i| gradient[i].abs()).fold(0.0, f64::max);
        if !value.is_finite() || steepest <= GRADIENT_TOLERANCE {
            break;
        }
        let mut direction = descent(&gradient, &free, &pairs);
        let mut slope = inner(&direction, &gradient);
        if slope >= 0.0 {
            pairs.clear();
            direction = descent(&gradient, &free, &pairs);
            slope = inner(&direction, &gradient);
        }
        // Without memory the gradient says nothing about the length: the first step moves no entry by more than 1.
        let mut step = if pairs.is_empty() { (1.0 / steepest).min(1.0) } else { 1.0 };
        let mut moved = None;
        for _ in 0..HALVINGS_MAX {
            let trial: Vec<f64> =
                (0..n).map(|i| (x[i] + step * direction[i]).clamp(bounds[i].0, bounds[i].1)).collect();
            let reached = f(&trial, &mut trial_gradient);
            if reached.is_finite() && reached <= value + DECREASE * step * slope {
                moved = Some((trial, reached));
                break;
            }
            step *= 0.5;
        }
        let Some((trial, reached)) = moved else {
            if pairs.is_empty() {
                break;
            }
            pairs.clear();
            continue;
        };
        let s: Vec<f64> = trial.iter().zip(&x).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = trial_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        let curvature = inner(&s, &y);
        if curvature > 1e-10 * inner(&y, &y) {
            if pairs.len() == MEMORY {
                pairs.remove(0);
            }
            pairs.push((s, y, 1.0 / curvature));
        }
        let gain = value - reached;
        (x, value) = (trial, reached);
        gradient.copy_from_slice(&trial_gradient);
        if gain <= TOLERANCE * value.abs().max(1.0) {
            break;
        }
    }
    Minimum { x, value }
}

/// The two-loop recursion on the free entries.
fn descent(gradient: &[f64], free: &[bool], pairs: &[(Vec<f64>, Vec<f64>, f64)]) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().zip(free).map(|(g, free)| if *free { *g } else { 0.0 }).collect();
    let mut factors = vec![0.0; pairs.len()];
    for (at, (s, y, rho)) in pairs.iter().enumerate().rev() {
        factors[at] = rho * inner(s, &q);
        q.iter_mut().zip(y).for_each(|(q, y)| *q -= factors[at] * y);
    }
    if let Some((s, y, _)) = pairs.last() {
        let scale = inner(s, y) / inner(y, y);
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for (at, (s, y, rho)) in pairs.iter().enumerate() {
        let back = rho * inner(y, &q);
        q.iter_mut().zip(s).for_each(|(q, s)| *q += (factors[at] - back) * s);
    }
    q.iter().zip(free).map(|(q, free)| if *free { -q } else { 0.0 }).collect()
}

fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + a * b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rosenbrock_is_solved_and_a_bound_holds() {
        let rosenbrock = |x: &[f64], g: &mut [f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            g[0] = -2.0 * a - 400.0 * x[0] * b;
            g[1] = 200.0 * b;
            a * a + 100.0 * b * b
        };
        let free = minimize(&[-1.2, 1.0], &[(-5.0, 5.0); 2], 200, rosenbrock);
        assert!((free.x[0] - 1.0).abs() < 1e-3 && (free.x[1] - 1.0).abs() < 2e-3, "{free:?}");
        let boxed = minimize(&[-1.2, 1.0], &[(-5.0, 0.5), (-5.0, 5.0)], 200, rosenbrock);
        assert!((boxed.x[0] - 0.5).abs() < 1e-9 && (boxed.x[1] - 0.25).abs() < 1e-3, "{boxed:?}");
    }

    #[test]
    fn a_value_that_is_not_finite_is_a_step_too_far() {
        let found = minimize(&[2.0], &[(-5.0, 5.0)], 100, |x, g| {
            g[0] = 1.0 - 1.0 / x[0];
            if x[0] <= 0.0 { f64::NAN } else { x[0] - libm::log(x[0]) }
        });
        assert!((found.x[0] - 1.0).abs() < 1e-4, "{found:?}");
    }
}
