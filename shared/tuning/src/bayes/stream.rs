//! Random numbers for one purpose of one proposal.

use crate::sobol;

/// 2^-53.
const HALF_ULP: f64 = f64::EPSILON / 2.0;

/// Numbers that depend on the seed, the proposal and the purpose alone: BLAKE3("trialog.bayes.1" || seed u64 ||
/// proposal u64 || purpose), integers little endian, read as an endless output.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    reader: blake3::OutputReader,
}

impl Stream {
    pub(crate) fn new(seed: u64, proposal: u64, purpose: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"trialog.bayes.1").update(&seed.to_le_bytes()).update(&proposal.to_le_bytes());
        hasher.update(purpose.as_bytes());
        Self { reader: hasher.finalize_xof() }
    }

    pub(crate) fn bits(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.reader.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Uniform, strictly between 0 and 1.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.bits() >> 12) as f64 + 0.5) * (2.0 * HALF_ULP)
    }

    /// Uniform between two bounds.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.unit() * (high - low)
    }

    /// Standard normal.
    pub(crate) fn normal(&mut self) -> f64 {
        crate::normal::inverse_normal(self.unit())
    }

    /// Uniform in `0..count`; 0 when there is nothing to choose from.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        // The bias of a product with 52 random bits is below 2^-40 for every count that occurs here.
        ((self.unit() * count as f64) as usize).min(count.saturating_sub(1))
    }
}

/// Owen-scrambled Sobol points of one purpose of one proposal.
#[derive(Clone, Debug)]
pub(crate) struct Points {
    keys: Vec<u64>,
}

impl Points {
    pub(crate) fn new(stream: &mut Stream, dimensions: usize) -> Self {
        Self { keys: (0..dimensions).map(|_| stream.bits()).collect() }
    }

    pub(crate) fn point(&self, index: u64) -> Vec<f64> {
        let keyed = self.keys.iter().enumerate();
        keyed.map(|(dimension, key)| unit(sobol::scramble(sobol::coordinate(index, dimension), *key))).collect()
    }
}

/// The middle of cell k of 2^52.
fn unit(k: u64) -> f64 {
    (k as f64 + 0.5) * (2.0 * HALF_ULP)
}
