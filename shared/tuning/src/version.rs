//! The versions of the samplers: each proposal records by which it was made, and all of them stay executable, so that
//! what an older build proposed is computed again by its own rules.

/// Raised whenever a sampler would give another value for the same inputs; recorded with each proposal.
///
/// 1. The ends of a lattice of powers were kept inside the powers of the bounds: 63.99999999999998 for `exp(ln 64)`.
/// 2. Such a lattice ends exactly: 64.
pub const SAMPLER_VERSION: u32 = 2;

/// A version that can be executed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SamplerVersion(u32);

impl SamplerVersion {
    /// The version with that number; `None` when this build does not know it.
    pub fn recorded(number: u32) -> Option<Self> {
        (1..=SAMPLER_VERSION).contains(&number).then_some(Self(number))
    }

    /// Whether the steps of a lattice of powers were kept inside the powers of its bounds.
    pub(crate) fn clamps_powers(self) -> bool {
        self.0 < 2
    }
}

/// What proposes now.
impl Default for SamplerVersion {
    fn default() -> Self {
        Self(SAMPLER_VERSION)
    }
}
