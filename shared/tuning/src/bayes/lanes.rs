//! The inner loops over doubles, with the same bits on every processor.
//!
//! Each loop is written once and compiled twice, for the baseline and for AVX2. Neither version fuses or reorders: a
//! sum runs in eight lanes that are added in a fixed order, everything else has one accumulator an element. So both
//! give the same bits, and which of them runs is only a matter of speed. A test compares them.

use std::cell::Cell;

/// Independent sums of a dot product.
const LANES: usize = 8;
/// How many right-hand sides a solve takes at once: as many as the registers hold without spilling.
pub(crate) const BLOCK: usize = 16;

/// Multiplications after which a calculation lets other threads have the core: some 100 us. Schedulers take a core away
/// at their ticks only, 4 ms apart, and several in a row make the tail of whoever is answered meanwhile.
const TURN: usize = 500_000;

thread_local! {
    static SPENT: Cell<usize> = const { Cell::new(0) };
}

/// Counts multiplications of this thread's turn.
fn spend(multiplications: usize) {
    let spent = SPENT.get() + multiplications;
    if spent < TURN {
        return SPENT.set(spent);
    }
    SPENT.set(0);
    std::thread::yield_now();
}

/// Defines a loop in both versions: `$name` picks one at run time, `$plain` and `$wide` are the two.
macro_rules! twice {
    (
        $(#[$doc:meta])*
        $name:ident, $plain:ident, $wide:ident, ($($argument:ident: $type:ty),*) $(-> $answer:ty)?
        $body:block
    ) => {
        $(#[$doc])*
        pub(crate) fn $name($($argument: $type),*) $(-> $answer)? {
            #[cfg(target_arch = "x86_64")]
            if std::is_x86_feature_detected!("avx2") {
                #[expect(unsafe_code, reason = "the processor was just asked whether it has AVX2")]
                // SAFETY: the only requirement of the function is AVX2.
                return unsafe { $wide($($argument),*) };
            }
            $plain($($argument),*)
        }

        #[inline(always)]
        fn $plain($($argument: $type),*) $(-> $answer)? $body

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2")]
        fn $wide($($argument: $type),*) $(-> $answer)? {
            $plain($($argument),*)
        }
    };
}

/// The sum of `term(a[i], b[i])`: eight lanes, then the lanes pairwise, then the rest from left to right.
#[inline(always)]
fn sum_body(a: &[f64], b: &[f64], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let (chunks_a, rest_a) = a.as_chunks::<LANES>();
    let (chunks_b, rest_b) = b[..a.len()].as_chunks::<LANES>();
    for (x, y) in chunks_a.iter().zip(chunks_b) {
        for lane in 0..LANES {
            lanes[lane] += term(x[lane], y[lane]);
        }
    }
    let [p, q, r, s, t, u, v, w] = lanes;
    let mut sum = ((p + t) + (r + v)) + ((q + u) + (s + w));
    for (x, y) in rest_a.iter().zip(rest_b) {
        sum += term(*x, *y);
    }
    sum
}

/// `sum of a[i] * b[i]`.
#[inline(always)]
fn dot_body(a: &[f64], b: &[f64]) -> f64 {
    sum_body(a, b, |a, b| a * b)
}

/// exp of a number from -708 to 0 (smaller ones are taken for -708): Cody and Waite's reduction by ln 2 and the Taylor
/// series to the 13th power, whose remainder is below an ulp on |r| <= ln 2 / 2. Relative error below 3e-16.
#[inline(always)]
fn exp_negative(x: f64) -> f64 {
    /// Adding it rounds to an integer, which then stands in the low bits.
    const ROUNDING: f64 = 6_755_399_441_055_744.0;
    /// ln 2 in two parts, the first with trailing zeros.
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    /// 1 / 13!, 1 / 12!, .. 1 / 2!.
    const SERIES: [f64; 12] = [
        1.605_904_383_682_161_5e-10,
        2.087_675_698_786_81e-9,
        2.505_210_838_544_172e-8,
        2.755_731_922_398_589_3e-7,
        2.755_731_922_398_589e-6,
        2.480_158_730_158_73e-5,
        1.984_126_984_126_984e-4,
        1.388_888_888_888_889e-3,
        8.333_333_333_333_333e-3,
        4.166_666_666_666_666_4e-2,
        1.666_666_666_666_666_6e-1,
        0.5,
    ];
    let x = if x > -708.0 { x } else { -708.0 };
    let shifted = x * std::f64::consts::LOG2_E + ROUNDING;
    let n = shifted - ROUNDING;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut sum = SERIES[0];
    for coefficient in &SERIES[1..] {
        sum = sum * r + coefficient;
    }
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    ((sum * r + 1.0) * r + 1.0) * power
}

twice! {
    /// `sum of a[i] * b[i]`.
    dot, dot_plain, dot_wide, (a: &[f64], b: &[f64]) -> f64 { dot_body(a, b) }
}

twice! {
    /// `sum of a[i] * (at - x[i])^2`.
    dot_squares, dot_squares_plain, dot_squares_wide, (a: &[f64], at: f64, x: &[f64]) -> f64 {
        sum_body(a, x, |a, x| a * ((at - x) * (at - x)))
    }
}

twice! {
    /// `sum of a[i] where at != x[i]`.
    dot_mismatches, dot_mismatches_plain, dot_mismatches_wide, (a: &[f64], at: f64, x: &[f64]) -> f64 {
        sum_body(a, x, |a, x| if at == x { 0.0 } else { a })
    }
}

twice! {
    /// `out[i] += weight * (at - x[i])^2`: one numeric dimension of a squared distance.
    add_squares, add_squares_plain, add_squares_wide, (out: &mut [f64], at: f64, weight: f64, x: &[f64]) {
        for (o, v) in out.iter_mut().zip(x) {
            let difference = at - v;
            *o += weight * (difference * difference);
        }
    }
}

twice! {
    /// `out[i] += weight where at != x[i]`: one categorical dimension.
    add_mismatches, add_mismatches_plain, add_mismatches_wide, (out: &mut [f64], at: f64, weight: f64, x: &[f64]) {
        for (o, v) in out.iter_mut().zip(x) {
            *o += if at == *v { 0.0 } else { weight };
        }
    }
}

twice! {
    /// Matern-5/2 of squared distances (Rasmussen and Williams 2006, equation 4.17) and its derivative by the squared
    /// distance: `values[i] = (1 + s + s^2 / 3) e^-s`, `slopes[i] = -5/6 (1 + s) e^-s`, `s = sqrt(5 r2[i])`.
    matern, matern_plain, matern_wide, (r2: &[f64], values: &mut [f64], slopes: &mut [f64]) {
        for ((r2, value), slope) in r2.iter().zip(values).zip(slopes) {
            let s = (5.0 * r2).sqrt();
            let e = exp_negative(-s);
            *value = (1.0 + s + s * s / 3.0) * e;
            *slope = (-5.0 / 6.0) * ((1.0 + s) * e);
        }
    }
}

twice! {
    /// `values[i] = exp(-x[i])` for x >= 0.
    exp_of_minus, exp_of_minus_plain, exp_of_minus_wide, (x: &[f64], values: &mut [f64]) {
        for (x, value) in x.iter().zip(values) {
            *value = exp_negative(-x);
        }
    }
}

twice! {
    /// Appends the row of `covariances` (with `diagonal` last) to a packed lower Cholesky factor of `n` rows; false,
    /// and nothing appended, when the matrix would not be positive definite by at least `least`.
    append_row, append_row_plain, append_row_wide,
    (packed: &mut Vec<f64>, n: usize, covariances: &[f64], diagonal: f64, least: f64) -> bool {
        spend(n * n / 2);
        let start = packed.len();
        packed.extend_from_slice(covariances);
        let (before, row) = packed.split_at_mut(start);
        let mut at = 0;
        for i in 0..n {
            let other = &before[at..=at + i];
            row[i] = (row[i] - dot_body(&other[..i], row)) / other[i];
            at += i + 1;
        }
        let rest = diagonal - dot_body(&row[..n], &row[..n]);
        if rest >= least {
            packed.push(rest.sqrt());
            return true;
        }
        packed.truncate(start);
        false
    }
}

twice! {
    /// Solves `L x = b` in place.
    solve_lower, solve_lower_plain, solve_lower_wide, (packed: &[f64], b: &mut [f64]) {
        spend(packed.len());
        let mut at = 0;
        for i in 0..b.len() {
            let row = &packed[at..=at + i];
            b[i] = (b[i] - dot_body(&row[..i], b)) / row[i];
            at += i + 1;
        }
    }
}

twice! {
    /// Solves `L' x = b` in place.
    solve_upper, solve_upper_plain, solve_upper_wide, (packed: &[f64], b: &mut [f64]) {
        spend(packed.len());
        for i in (0..b.len()).rev() {
            let at = i * (i + 1) / 2;
            let row = &packed[at..=at + i];
            let x = b[i] / row[i];
            b[i] = x;
            for (o, v) in b[..i].iter_mut().zip(row) {
                *o -= x * v;
            }
        }
    }
}

twice! {
    /// The squared length of the solution of `L x = b` for each column of `b`, which is `n x BLOCK` and is overwritten
    /// by the solutions.
    solve_block, solve_block_plain, solve_block_wide, (packed: &[f64], b: &mut [[f64; BLOCK]]) -> [f64; BLOCK] {
        let mut lengths = [0.0; BLOCK];
        let mut at = 0;
        for i in 0..b.len() {
            spend(i * BLOCK);
            let row = &packed[at..=at + i];
            let (before, rest) = b.split_at_mut(i);
            let mut sum = rest[0];
            for (factor, x) in row[..i].iter().zip(before.iter()) {
                for column in 0..BLOCK {
                    sum[column] -= factor * x[column];
                }
            }
            for column in 0..BLOCK {
                sum[column] /= row[i];
                lengths[column] += sum[column] * sum[column];
            }
            rest[0] = sum;
            at += i + 1;
        }
        lengths
    }
}

twice! {
    /// The packed lower triangle of the inverse of `L L'`.
    invert, invert_plain, invert_wide, (packed: &[f64], n: usize) -> Vec<f64> {
        let mut inverse = vec![0.0; packed.len()];
        // First the inverse of L, row by row; then the inverse's rows are summed up in place of its transpose times it.
        let mut row = vec![0.0; n];
        let mut lower = vec![0.0; packed.len()];
        let mut at = 0;
        for i in 0..n {
            spend(i * i / 2);
            row[..=i].fill(0.0);
            let factors = &packed[at..=at + i];
            let mut other = 0;
            for (k, factor) in factors[..i].iter().enumerate() {
                for (o, v) in row[..=k].iter_mut().zip(&lower[other..=other + k]) {
                    *o -= factor * v;
                }
                other += k + 1;
            }
            row[i] = 1.0;
            for (o, v) in lower[at..=at + i].iter_mut().zip(&row[..=i]) {
                *o = v / factors[i];
            }
            at += i + 1;
        }
        at = 0;
        for k in 0..n {
            spend(k * k / 2);
            let source = &lower[at..=at + k];
            let mut target = 0;
            for i in 0..=k {
                let factor = source[i];
                for (o, v) in inverse[target..=target + i].iter_mut().zip(source) {
                    *o += factor * v;
                }
                target += i + 1;
            }
            at += k + 1;
        }
        inverse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        (0..count).map(|_| next()).collect()
    }

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    /// A positive definite matrix of `n` rows: a kernel matrix of points on a line.
    fn factor(n: usize) -> Vec<f64> {
        let x = numbers(n, 5);
        let mut packed = Vec::new();
        for i in 0..n {
            let row: Vec<f64> = (0..i).map(|j| libm::exp(-(x[i] - x[j]).abs())).collect();
            assert!(append_row(&mut packed, i, &row, 1.0 + 1e-3, 1e-9));
        }
        packed
    }

    #[test]
    fn exp_is_exact_to_two_ulps() {
        for value in numbers(20_000, 1).into_iter().map(|u| -708.0 * u * u * u).chain([0.0, -1e-300, -0.5, -708.0]) {
            let (own, reference) = (exp_negative(value), libm::exp(value));
            assert!((own - reference).abs() <= 4e-16 * reference, "exp({value}): {own} {reference}");
        }
        assert_eq!(exp_negative(-1e300), exp_negative(-708.0));
        assert!(exp_negative(f64::NAN) > 0.0);
    }

    #[test]
    fn solving_multiplies_back() {
        for n in [1, 7, 8, 9, 40] {
            let packed = factor(n);
            let b = numbers(n, 9);
            let mut x = b.clone();
            solve_lower(&packed, &mut x);
            solve_upper(&packed, &mut x);
            let inverse = invert(&packed, n);
            let entry = |i: usize, j: usize| inverse[i.max(j) * (i.max(j) + 1) / 2 + i.min(j)];
            for (i, x) in x.iter().enumerate() {
                let sum: f64 = (0..n).map(|j| entry(i, j) * b[j]).sum();
                assert!((sum - x).abs() < 1e-6, "n {n}, {i}: {sum} {x}");
            }
            let mut block = vec![[0.0; BLOCK]; n];
            for i in 0..n {
                block[i] = std::array::from_fn(|column| b[i] * (column as f64 + 1.0));
            }
            let lengths = solve_block(&packed, &mut block);
            let mut lower = b.clone();
            solve_lower(&packed, &mut lower);
            let length: f64 = lower.iter().map(|value| value * value).sum();
            assert!((lengths[1] - 4.0 * length).abs() < 1e-9 * length.max(1.0));
        }
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_is_refused() {
        let mut packed = factor(5);
        let before = packed.clone();
        assert!(!append_row(&mut packed, 5, &[2.0; 5], 1.0, 1e-9));
        assert_eq!(packed, before);
    }

    /// What runs on an old processor and what runs on a new one give the same bits.
    #[cfg(target_arch = "x86_64")]
    #[test]
    #[expect(unsafe_code, reason = "the test asks for AVX2 first")]
    fn both_versions_give_the_same_bits() {
        if !std::is_x86_feature_detected!("avx2") {
            return; // Without AVX2 there is only one version to run.
        }
        for n in [1, 3, 8, 17, 61] {
            let (a, b) = (numbers(n, 2), numbers(n, 3));
            // SAFETY: AVX2 was just found.
            unsafe {
                assert_eq!(dot_plain(&a, &b).to_bits(), dot_wide(&a, &b).to_bits());
                let run = |wide: bool| {
                    let (mut x, mut values, mut slopes) = (b.clone(), vec![0.0; n], vec![0.0; n]);
                    let mut packed = Vec::new();
                    let kernel: Vec<Vec<f64>> = (0..n).map(|i| (0..i).map(|j| 0.9 * a[i] * b[j]).collect()).collect();
                    if wide {
                        x[0] += dot_squares_wide(&a, 0.3, &b) + dot_mismatches_wide(&a, b[0], &b);
                        add_squares_wide(&mut x, 0.4, 1.7, &a);
                        add_mismatches_wide(&mut x, a[0], 0.1, &a);
                        matern_wide(&x, &mut values, &mut slopes);
                        exp_of_minus_wide(&values, &mut x);
                        kernel.iter().enumerate().for_each(|(i, row)| {
                            append_row_wide(&mut packed, i, row, 1.0 + n as f64, 1e-9);
                        });
                        solve_lower_wide(&packed, &mut x);
                        solve_upper_wide(&packed, &mut x);
                    } else {
                        x[0] += dot_squares_plain(&a, 0.3, &b) + dot_mismatches_plain(&a, b[0], &b);
                        add_squares_plain(&mut x, 0.4, 1.7, &a);
                        add_mismatches_plain(&mut x, a[0], 0.1, &a);
                        matern_plain(&x, &mut values, &mut slopes);
                        exp_of_minus_plain(&values, &mut x);
                        kernel.iter().enumerate().for_each(|(i, row)| {
                            append_row_plain(&mut packed, i, row, 1.0 + n as f64, 1e-9);
                        });
                        solve_lower_plain(&packed, &mut x);
                        solve_upper_plain(&packed, &mut x);
                    }
                    let mut block: Vec<[f64; BLOCK]> = x.iter().map(|v| [*v; BLOCK]).collect();
                    let (lengths, inverse) = if wide {
                        (solve_block_wide(&packed, &mut block), invert_wide(&packed, n))
                    } else {
                        (solve_block_plain(&packed, &mut block), invert_plain(&packed, n))
                    };
                    [bits(&x), bits(&values), bits(&slopes), bits(&packed), bits(&lengths), bits(&inverse)]
                };
                assert_eq!(run(false), run(true), "n {n}");
            }
        }
    }
}
