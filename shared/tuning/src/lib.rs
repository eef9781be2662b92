//! Search spaces, samplers and stopping policies: pure and seeded, without time, randomness or input and output of
//! their own.
//!
//! A proposal is a function of the space, the sampler, the seed, the proposal's number and the earlier configurations;
//! a verdict is a function of the recorded reports. Both give the same bits on every machine: `libm` instead of the
//! system's library, no fused operations, no order that depends on a hash.

mod activity;
pub mod bayes;
mod check;
mod compat;
mod conditions;
mod count;
mod curve;
mod distribution;
mod environment;
mod explore;
mod grid;
mod importance;
mod integers;
mod judge;
mod ladder;
mod lattice;
mod locate;
mod normal;
mod pareto;
mod policy;
mod population;
mod ranked;
mod rungs;
mod sampler;
mod snapshot;
mod sobol;
mod space;
mod trials;
mod value;
mod version;
mod whatif;

pub use check::{bad_upper, check_choice};
pub use curve::End;
pub use environment::{PARAMETER_PREFIX, environment_form, parameter_environment_name};
pub use explore::{Change, Explored, donor_of, explore};
pub use grid::grid_size;
pub use importance::{IMPORTANCE_TRIALS_MIN, Importance, Share, Unjudged, importance};
pub use judge::{Decision, Input, SkipReason, Verdict};
pub use ladder::rung_intervals;
pub use lattice::Lattice;
pub use pareto::front;
pub use policy::{Goal, PolicySpec, Variant};
pub use population::{Member, population_min};
pub use rungs::{Entry, Promotion, RungTable};
pub use sampler::{Draw, Method, Proposal, Rule, SamplerSpec, finite_size, propose, trial_seed};
pub use space::{
    Bounds, CHOICE_VALUES_MAX, Condition, Distribution, INTEGER_MAX, Issue, PARAMETERS_MAX, Parameter,
    RANDINT_UPPER_MAX, SearchSpace,
};
pub use trials::{Report, Reported, Standing, TRIALS_MAX, Trials};
pub use value::{Configuration, Value, fingerprint, number_text};
pub use version::{SAMPLER_VERSION, SamplerVersion, TUNER_VERSION, TunerVersion};
pub use whatif::{Clock, Fate, RecordedTrial, Replay, ReplayedBest, ReplayedTrial, WhatIf, replay, what_if};
