//! Quantisation: rounding to multiples of q, and the finite lattice inside two bounds.

/// How near to an integer `x / q` must be to count as that integer: 0.3 / 0.1 is 2.9999999999999996 and means step 3.
const NEAR: f64 = 1e-9;

/// The integer that `x` is, up to rounding noise.
fn near_integer(x: f64) -> Option<f64> {
    let rounded = x.round_ties_even();
    ((x - rounded).abs() <= NEAR * x.abs().max(1.0)).then_some(rounded)
}

/// The value of step `r`.
pub(crate) fn from_step(r: f64, q: f64) -> f64 {
    let inverse = 1.0 / q;
    let value = if q < 1.0 && inverse == inverse.floor() { r / inverse } else { r * q };
    value + 0.0
}

/// The multiples of q inside `[low, high]`, as whole step numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lattice {
    low: f64,
    high: f64,
    q: f64,
    first: f64,
    last: f64,
    /// Whether a step is kept inside the bounds, of which it may be off by the rounding of a division.
    clamped: bool,
}

impl Lattice {
    /// The lattice of a checked quantum inside real bounds.
    pub fn new(low: f64, high: f64, q: f64) -> Self {
        let first = near_integer(low / q).unwrap_or_else(|| (low / q).ceil());
        let last = near_integer(high / q).unwrap_or_else(|| (high / q).floor());
        Self { low, high, q, first, last, clamped: true }
    }

    /// The same steps, each an exact multiple of q: for bounds that are powers, and off by the rounding of them.
    pub(crate) fn unclamped(self) -> Self {
        Self { clamped: false, ..self }
    }

    /// How many multiples there are. Exact below 2^53 steps, which is finer than a draw can tell apart anyway.
    pub fn count(&self) -> u64 {
        (self.last - self.first + 1.0).max(0.0) as u64
    }

    /// The multiple number `index`, from 0.
    pub fn value(&self, index: u64) -> f64 {
        self.at((self.first + index as f64).min(self.last))
    }

    /// The multiple that is nearest to `x`, kept inside.
    pub fn nearest(&self, x: f64) -> f64 {
        self.at((x / self.q).round_ties_even().max(self.first).min(self.last))
    }

    fn at(&self, step: f64) -> f64 {
        let value = from_step(step, self.q);
        if self.clamped { value.max(self.low).min(self.high) + 0.0 } else { value }
    }
}
