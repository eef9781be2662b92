//! The constants of the Gaussian process sampler, in one place.

use serde::Deserialize;

/// How raw values are brought near to normal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Transform {
    None,
    Clip,
    Power,
    Ranks,
    Auto,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Recipe {
    pub output: Transform,
    /// Sum and product of the numeric and the categorical kernel, or both inside the Matern distance.
    pub mixed: bool,
    pub design_min: usize,
    pub design_max: usize,
    pub design_factor: f64,
    pub incumbent_mean: bool,
    pub noise_mean: f64,
    pub noise_spread: f64,
    pub length_mean: f64,
    pub length_variance: f64,
    pub scale_free: bool,
    /// Every so many proposals one comes from elsewhere; 0: never.
    pub insurance: u32,
    pub sobol: usize,
    pub near: usize,
    pub steps: usize,
    pub mixes: usize,
    pub starts: usize,
    pub rounds: usize,
    pub climbs: usize,
    pub neighbours: usize,
    pub cold_every: u32,
    pub region: bool,
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
            region: false,
        }
    }
}
