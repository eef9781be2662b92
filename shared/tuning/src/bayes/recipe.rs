//! The constants of the Gaussian process sampler, in one place.

use serde::Deserialize;

/// How raw values are brought near to normal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Standardised only.
    None,
    /// Outliers clipped.
    Clip,
    /// Clipped, then Yeo and Johnson's power by maximum likelihood.
    Power,
    /// Normal scores of the ranks.
    Ranks,
    /// A power, or ranks when it leaves the values skewed.
    Auto,
}

/// What the sampler is made of. The defaults are in force; others are for measuring what each of them does.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// How values are brought near to normal.
    pub output: Transform,
    /// Sum and product of the numeric and the categorical kernel; false: both inside the Matern distance.
    pub mixed: bool,
    /// Fewest proposals of the initial design.
    pub design_min: usize,
    /// Most proposals of the initial design.
    pub design_max: usize,
    /// Proposals of the initial design a parameter.
    pub design_factor: f64,
    /// Improve on the best posterior mean; false: on the best observation.
    pub incumbent_mean: bool,
    /// Prior mean of ln noise variance.
    pub noise_mean: f64,
    /// Prior standard deviation of ln noise variance.
    pub noise_spread: f64,
    /// Prior median of ln lengthscale, before half the logarithm of the dimension.
    pub length_mean: f64,
    /// Prior variance of ln lengthscale.
    pub length_variance: f64,
    /// Learn the output scale too.
    pub scale_free: bool,
    /// Every so many proposals one comes from elsewhere; 0: never.
    pub insurance: u32,
    /// Candidates from Sobol points.
    pub sobol: usize,
    /// Candidates near the best observations.
    pub near: usize,
    /// Candidates one step from them.
    pub steps: usize,
    /// Candidates mixed from the good observations.
    pub mixes: usize,
    /// Candidates that local searches start from.
    pub starts: usize,
    /// Rounds of gradient and neighbours.
    pub rounds: usize,
    /// Gradient iterations a round.
    pub climbs: usize,
    /// Neighbours a round.
    pub neighbours: usize,
    /// Every so many endings a fit starts from the prior's mode too.
    pub cold_every: u32,
    /// A clipped observation so many standard deviations above what the others foretell is doubted.
    pub wild_from: f64,
    /// How many times the noise it has then.
    pub wild_noise: f64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            output: Transform::Power,
            mixed: true,
            design_min: 8,
            design_max: 20,
            design_factor: 2.0,
            incumbent_mean: true,
            noise_mean: -4.0,
            noise_spread: 1.0,
            length_mean: std::f64::consts::SQRT_2,
            length_variance: 3.0,
            scale_free: false,
            insurance: 0,
            sobol: 256,
            near: 128,
            steps: 64,
            mixes: 64,
            starts: 6,
            rounds: 3,
            climbs: 20,
            neighbours: 24,
            cold_every: 5,
            wild_from: 2.5,
            wild_noise: 1e3,
        }
    }
}
