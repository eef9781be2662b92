//! The aggregate: a sweep with all its trials. Pure: the time, ids, seeds and proposals come in with the commands.

mod closing;
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
mod point;
mod population;
mod promote;
mod propose;
mod snapshot;
mod state;
mod status;
mod tell;
mod trial;
mod trial_end;
mod trial_state;
mod values;

#[cfg(test)]
mod tests;

pub use closing::{Best, Closing};
pub use decide::{Changes, Command, NamedPoint, NewTrial, Observation, Rejection, RunEnd, RunMove};
pub use events::*;
pub use external::{Ask, Heartbeat, Tell, TellContent, offer_state};
pub use hold::{PauseMode, TrialHeld, TrialReleased};
pub use import::{IMPORTED, ImportedTrial, NO_RUN};
pub use inherit::{
    AdoptedTrial, Inheritance, InheritedTrial, ObservationsInherited, Parent, TrialsAdopted, configuration_of,
};
pub use job::{TrialJob, parameters_json};
pub use lease::{ExternalTrial, Lease, TellDetails};
pub use model::{Ended, Made, ModelBasis, Suggested, outcome_of};
pub use point::{NamedValue, Point};
pub use population::{Changed, Exploit, Population, Vacancy};
pub use propose::{Planned, ProposalBasis, proposals};
pub use state::{Submitted, Sweep};
pub use status::{CompletedReason, Outcome, Status, SweepState};
pub use trial::{Attempt, Stop, Trial};
pub use trial_end::{AttemptEnd, StopBy, TrialEnd};
pub use trial_state::TrialState;
