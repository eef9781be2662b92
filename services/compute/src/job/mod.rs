//! The aggregate of a job: one queue entry with all its attempts. At most one attempt lives at any time (I6).

mod decide;
#[cfg(test)]
mod decide_tests;
mod events;
mod phase;
mod state;

pub use decide::{Command, MAX_LOST, Reserved, failed_end};
pub use events::{
    JobEnded, JobEvent, JobHeld, JobKey, JobPhaseChanged, JobPlaced, JobQueued, JobReleased, JobRequeued, StopRequested,
};
pub use phase::JobPhase;
pub use state::{Job, Stop, micros};

use vocabulary::JobId;

/// The stream of a job.
pub fn stream(job_id: JobId) -> String {
    format!("job-{}", job_id.hex())
}

/// The job of a stream; `None` when it is another aggregate's.
pub fn of_stream(stream: &str) -> Option<JobId> {
    JobId::parse(stream.strip_prefix("job-")?).ok()
}
