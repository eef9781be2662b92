//! Model-based suggestions: Gaussian process, TPE, CMA-ES, and the choice between them.
//!
//! A [`Tuner`] holds all that was proposed and all that has ended, in the order of the log. A suggestion is a pure
//! function of the setup, the number of the proposal, the first `known` endings and the last fit; a fit is a pure
//! function of the setup, the first `known` endings and the fit before it. So a log that records `known` and the fits
//! can be recomputed bit for bit, whatever ran in parallel.

mod acquire;
mod cma;
pub(crate) mod dims;
mod explained;
mod failures;
mod fit;
mod gp;
mod lanes;
mod minimize;
mod model;
pub(crate) mod output;
mod promise;
mod recipe;
mod region;
mod search;
mod seen;
mod several;
mod special;
pub(crate) mod stream;
mod suggest;
mod tpe;
mod tuner;

pub use explained::{Expected, Explained, Near};
pub use recipe::{Recipe, Transform};
pub use several::{Output, Sought};
pub use tuner::{Fit, FitTask, Inherited, Outcome, Suggestion, Tuner, TunerSetup};

pub use crate::sampler::Method;
