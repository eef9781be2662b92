//! Sweeps and their trials: propose, observe, stop early, pause, extend, explain.
//!
//! A sweep is one stream that holds all its trials' events. Life: `Queued -> Running <-> Paused -> Completing ->
//! Completed`, or `Failed`, or `Canceling -> Canceled`. A trial's run is created by `runs` from the fact
//! `TrialProposed`; what becomes of it comes back as facts of `runs`.
//!
//! Invariants, kept by the decider: no proposal while the total or the concurrency in force is reached; one live
//! attempt a trial; a report and the policy's verdict are one append; the leader is never stopped by a policy; a
//! proposal follows from the spec, the seed, its number and its recorded basis, so that the log can be recomputed bit
//! for bit.

mod api;
mod audit;
pub mod document;
mod fault;
mod measures;
pub mod publish;
mod reactions;
mod service;
mod stream;
pub mod sweep;
mod tuner;
mod views;
mod what_if;

use std::sync::Arc;

use contracts::sweeps::sweeps_service_server::SweepsServiceServer;
use eventlog::{EventLog, Options, Stores};
use tokio::sync::Semaphore;
use vocabulary::{Clock, Entropy};

pub use document::ServerLimits;

/// What the service is built on.
#[derive(Clone)]
pub struct Dependencies {
    /// Where logs are kept.
    pub stores: Stores,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids and seeds.
    pub entropy: Arc<dyn Entropy>,
    /// Where facts come from: those of `runs` are followed.
    pub feeds: feed::Feeds,
    /// Tells the tasks to end.
    pub shutdown: runtime::Shutdown,
    /// What a document may ask for.
    pub limits: ServerLimits,
}

/// The running service.
#[derive(Clone)]
pub struct Service {
    core: service::Core,
    feeds: feed::Feeds,
    shutdown: runtime::Shutdown,
}

/// What the service's log is: its tables and its views, for whoever opens it.
pub fn log_options(stores: &Stores, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Options {
    Options {
        service: "sweeps",
        store: stores.of("sweeps"),
        migrations: &[
            ("0001_sweeps", include_str!("../migrations/0001_sweeps.sql")),
            ("0200_ended_trials", include_str!("../migrations/0200_ended_trials.sql")),
            ("0300_sweep_sources", include_str!("../migrations/0300_sweep_sources.sql")),
        ],
        views: vec![Arc::new(views::Listed), Arc::new(views::Stops), Arc::new(views::EndedTrials)],
        clock,
        entropy,
    }
}

/// Opens the service on its database.
///
/// # Errors
/// When the database cannot be opened.
pub async fn open(dependencies: Dependencies) -> anyhow::Result<Service> {
    let Dependencies { stores, clock, entropy, feeds, shutdown, limits } = dependencies;
    let log = EventLog::open(log_options(&stores, Arc::clone(&clock), Arc::clone(&entropy))).await?;
    let tuners = tuner::Tuners::new(log.clone(), Arc::clone(&clock), Arc::clone(&entropy), tuner::suggest);
    let submissions = Arc::new(Semaphore::new(api::SUBMISSIONS_AT_ONCE));
    let core = service::Core { log, clock, entropy, limits, tuners, submissions, sampler: sweep::proposals };
    Ok(Service { core, feeds, shutdown })
}

impl Service {
    /// Adds the service's calls.
    pub fn routes(&self, routes: &mut tonic::service::RoutesBuilder) {
        let server = SweepsServiceServer::new(api::Calls(self.core.clone()))
            .max_decoding_message_size(contracts::peer::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(contracts::peer::MESSAGE_BYTES_MAX);
        routes.add_service(server);
    }

    /// What the service measures.
    pub async fn measure(&self) -> Vec<contracts::health::Family> {
        measures::measure(&self.core).await
    }

    /// The service's facts.
    pub fn feed(&self) -> feed::Source {
        feed::Source::new(self.core.log.clone(), publish::Publisher)
    }

    /// The service's background work: proposing, watching the time, following runs.
    pub fn tasks(&self) -> Vec<runtime::Task> {
        reactions::tasks(&self.core, &self.feeds, &self.shutdown)
    }
}
