//! What a job is and how an attempt of it ends: what runs and compute both store. The forms on the wire, and the ways
//! there and back, are in `contracts::job`.

mod before;
mod end;
mod spec;

pub use before::{upcast_end, upcast_spec};
pub use end::{AttemptPhase, EndPhase, JobEnd, Outcome, RequeueCause, StopBy};
pub use spec::{Goal, InputMode, JobInput, JobSpec, ModelFile, Resources, ServiceSpec};
