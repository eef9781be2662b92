//! The model registry: models, their versions, aliases with a history.
//!
//! A version is registered from a run's artifact, has a dense number within its model and never changes its content;
//! tags, the description and aliases may change, properties may be added. Archiving hides, nothing is deleted.
//! Invariants: version numbers are dense from 1; a version's files are named by their content; every alias change keeps
//! who, when, why.

mod api;
pub mod model;
pub mod publish;
mod views;

use std::sync::Arc;

use contracts::Peers;
use contracts::models::models_service_server::ModelsServiceServer;
use eventlog::{EventLog, Options, Stores};
use runtime::Shutdown;
use vocabulary::{Clock, Entropy};

/// What the service is built on.
#[derive(Clone)]
pub struct Dependencies {
    /// Where logs are kept.
    pub stores: Stores,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub entropy: Arc<dyn Entropy>,
    /// The other services.
    pub peers: Peers,
    /// The end.
    pub shutdown: Shutdown,
}

/// The running service.
#[derive(Clone)]
pub struct Service {
    api: api::Api,
}

/// What the service's log is: its tables and its views, for whoever opens it.
pub fn log_options(stores: &Stores, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Options {
    Options {
        service: "models",
        store: stores.of("models"),
        migrations: &[("0001_models", include_str!("../migrations/0001_models.sql"))],
        views: vec![Arc::new(views::Listed)],
        clock,
        entropy,
    }
}

/// Opens the service on its database.
///
/// # Errors
/// When the database cannot be opened.
pub async fn open(dependencies: Dependencies) -> anyhow::Result<Service> {
    let options = log_options(&dependencies.stores, Arc::clone(&dependencies.clock), Arc::clone(&dependencies.entropy));
    let log = EventLog::open(options).await?;
    Ok(Service { api: api::Api { log, clock: dependencies.clock, entropy: dependencies.entropy } })
}

impl Service {
    /// Adds the service's calls.
    pub fn routes(&self, routes: &mut tonic::service::RoutesBuilder) {
        routes.add_service(
            ModelsServiceServer::new(api::Calls(self.api.clone()))
                .max_decoding_message_size(contracts::peer::MESSAGE_BYTES_MAX)
                .max_encoding_message_size(contracts::peer::MESSAGE_BYTES_MAX),
        );
    }

    /// The service's facts.
    pub fn feed(&self) -> feed::Source {
        feed::Source::new(self.api.log.clone(), publish::Publisher)
    }

    /// The service's background work: none.
    pub fn tasks(&self) -> Vec<runtime::Task> {
        Vec::new()
    }
}
