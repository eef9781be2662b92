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

/// Raised whenever a model would suggest something else after the same log; recorded with each sweep, which stays with
/// the rules that it began with.
///
/// 1. A trial counts from its end on. The model begins when as many values are known as the initial design has
///    proposals. A failure repels by the kernel of the objective. The best inherited configurations are tried again.
/// 2. A trial counts from its first rung on, and a failure as an observation; what is under way is not waited for. A
///    model of its own says where trials give a value. What was inherited is never proposed again.
pub const TUNER_VERSION: u32 = 2;

/// A version of the models' rules that can be executed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TunerVersion(u32);

impl TunerVersion {
    /// The version with that number; `None` when this build does not know it.
    pub fn recorded(number: u32) -> Option<Self> {
        (1..=TUNER_VERSION).contains(&number).then_some(Self(number))
    }

    /// Whether trials count before their end, and failures at all; see [`TUNER_VERSION`].
    pub fn counts_early(self) -> bool {
        self.0 >= 2
    }
}

/// What suggests now.
impl Default for TunerVersion {
    fn default() -> Self {
        Self(TUNER_VERSION)
    }
}
