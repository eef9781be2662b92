//! What a job is, how an attempt of it ends and where its run is: what several services store. The forms on the wire,
//! and the ways there and back, are in `contracts::job`.

mod before;
mod end;
mod spec;
mod state;

pub use before::{upcast_end, upcast_spec};
pub use end::{AttemptPhase, EndPhase, JobEnd, Outcome, RequeueCause, StopBy, TAKEN_DOWN};
pub use spec::{Goal, InputMode, JobInput, JobSpec, ModelFile, Requirements, Resources, ServiceSpec};
pub use state::RunState;
