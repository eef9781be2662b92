//! The aggregate: a sweep with all its trials. Pure: the time, ids, seeds and proposals come in with the commands.

mod ask;
mod closing;
mod command;
mod decide;
mod end;
mod events;
mod exploit;
mod external;
mod fault;
mod finishing;
mod goal;
mod held;
mod hold;
mod import;
mod inherit;
mod inheritance;
mod job;
mod lease;
mod life;
mod model;
mod modelled;
mod observe;
mod point;
mod population;
mod promote;
mod propose;
mod rejection;
mod settle;
mod snapshot;
mod state;
mod status;
mod tell;
mod trial;
mod trial_end;
mod values;

#[cfg(test)]
mod tests;

pub use closing::{Best, Closing};
pub use command::{
    Ask, Changes, Heartbeat, ImportedTrial, NamedPoint, NewTrial, Observation, RunEnd, RunMove, Tell, TellContent,
};
pub use decide::Command;
pub(crate) use decide::in_use;
pub use events::*;
pub use exploit::{Changed, Exploit, Population, Vacancy};
pub use external::offer_state;
pub use held::{PauseMode, TrialHeld, TrialReleased};
pub use import::{IMPORTED, NO_RUN};
pub use inheritance::{
    AdoptedTrial, Inheritance, InheritedTrial, ObservationsInherited, Parent, TrialsAdopted, configuration_of,
};
pub use job::{TrialJob, parameters_json};
pub use lease::{ExternalObjective, ExternalTrial, Lease, TellDetails};
pub use model::{Ended, Made, ModelBasis, Suggested, outcome_of};
pub use point::{NamedValue, Point};
pub use propose::{Planned, ProposalBasis, proposals};
pub use rejection::Rejection;
pub use state::{Submitted, Sweep};
pub use status::{CompletedReason, Outcome, Status, SweepState};
pub use trial::{Attempt, Failure, Stop, Trial};
pub use trial_end::{AttemptEnd, StopBy, TrialEnd};
/// A trial is where its run is.
pub use vocabulary::job::RunState as TrialState;
