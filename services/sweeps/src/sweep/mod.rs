//! The aggregate: a sweep with all its trials. Pure: the time, ids, seeds and proposals come in with the commands.

mod breed;
mod decide;
mod end;
mod events;
mod external;
mod goal;
mod hold;
mod import;
mod inherit;
mod job;
mod lease;
mod life;
mod model;
mod observe;
mod promote;
mod propose;
mod snapshot;
mod state;
mod told;
mod trial;
mod values;
mod words;

#[cfg(test)]
mod tests;

pub use breed::{Changed, Exploit, Nursery, Opening};
pub use decide::{Changes, Command, NamedPoint, NewTrial, Observation, Rejection, RunEnd, RunMove};
pub use events::*;
pub use external::{Ask, Heartbeat, Saying, Tell, offer_state};
pub use hold::{PauseMode, TrialHeld, TrialReleased};
pub use import::{IMPORTED, ImportedTrial, NO_RUN};
pub use inherit::{
    AdoptedTrial, Inheritance, InheritedTrial, ObservationsInherited, Parent, TrialsAdopted, configuration_of,
};
pub use job::{TrialJob, goal_text, parameters_json};
pub use lease::{ExternalTrial, Lease, Told};
pub use model::{Ended, Made, ModelBasis, Suggested, outcome_of};
pub use propose::{Ground, Planned, proposals};
pub use state::{Status, Submitted, Sweep};
pub use trial::{Attempt, Stop, Trial};
pub use words::{
    AttemptEnd, Best, Closing, CompletedReason, NamedValue, Outcome, Point, StopBy, SweepState, TrialEnd, TrialState,
};
