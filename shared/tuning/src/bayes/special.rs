//! Functions of the normal distribution, without cancellation.

use std::f64::consts::{FRAC_1_SQRT_2, PI, SQRT_2};

/// ln sqrt(2 pi).
pub(crate) const LN_SQRT_2_PI: f64 = 0.918_938_533_204_672_8;
/// ln sqrt(pi / 2).
const LN_SQRT_HALF_PI: f64 = 0.225_791_352_644_727_44;
/// From here on 1 - z^2 + .. is all there is of the tail.
const FAR: f64 = -1e5;

/// exp(x^2) erfc(x) for x >= 0: as it says below 3, Laplace's continued fraction above.
fn erfcx(x: f64) -> f64 {
    if x < 3.0 {
        return libm::exp(x * x) * libm::erfc(x);
    }
    let mut tail = x;
    for k in (1..=60).rev() {
        tail = x + 0.5 * f64::from(k) / tail;
    }
    1.0 / (tail * PI.sqrt())
}

/// The standard normal distribution function.
pub(crate) fn normal_below(z: f64) -> f64 {
    0.5 * libm::erfc(-z * FRAC_1_SQRT_2)
}

/// Its logarithm.
pub(crate) fn ln_normal_below(z: f64) -> f64 {
    if z > -1.0 { libm::log(normal_below(z)) } else { -0.5 * z * z + libm::log(0.5 * erfcx(-z * FRAC_1_SQRT_2)) }
}

/// `ln(phi(z) + z Phi(z))`, the logarithm of the expected improvement in units of the spread, and its derivative
/// (Ament et al. 2023, arXiv 2310.20708, equation 9 and appendix A.1).
pub(crate) fn ln_improvement(z: f64) -> (f64, f64) {
    let value = if z > -1.0 {
        libm::log(libm::exp(-0.5 * z * z - LN_SQRT_2_PI) + z * normal_below(z))
    } else {
        let rest = if z > FAR {
            let w = libm::log(erfcx(-z / SQRT_2) * -z) + LN_SQRT_HALF_PI;
            libm::log(-libm::expm1(w.min(-1e-300)))
        } else {
            -2.0 * libm::log(-z)
        };
        -0.5 * z * z - LN_SQRT_2_PI + rest
    };
    (value, libm::exp(ln_normal_below(z) - value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// References: mpmath 1.3 with 50 digits.
    #[test]
    fn improvement_is_right_far_into_the_tail() {
        let known = [
            (3.0, 1.098_739_665_327_707_8),
            (0.0, -0.918_938_533_204_672_7),
            (-0.999, -2.483_217_115_447_585_4),
            (-1.001, -2.487_025_657_955_398),
            (-5.0, -16.744_301_162_660_99),
            (-40.0, -808.298_568_356_619_9),
        ];
        for (z, want) in known {
            let (got, _) = ln_improvement(z);
            assert!((got - want).abs() < 1e-9 * want.abs().max(1.0), "z {z}: {got} {want}");
        }
    }

    #[test]
    fn the_derivative_is_the_slope() {
        for z in [-60.0, -12.0, -2.0, -1.0, -0.5, 0.0, 2.0, 6.0] {
            let h = 1e-5 * f64::max(1.0, z);
            let slope = (ln_improvement(z + h).0 - ln_improvement(z - h).0) / (2.0 * h);
            let (_, derivative) = ln_improvement(z);
            assert!((slope - derivative).abs() < 1e-4 * slope.abs().max(1e-3), "z {z}: {slope} {derivative}");
        }
    }
}
