//! Workspaces and the API tokens that open them. Members, datastores, environments and datasets will live here too.
//!
//! A workspace is created and, once nothing is in it, perhaps deleted, for good; a token is created, perhaps revoked,
//! never changed. Invariant: no token's text is stored anywhere, only its SHA-256.

mod api;
pub mod publish;
mod views;
pub mod workspace;

use std::sync::Arc;

use contracts::workspaces::workspaces_service_server::WorkspacesServiceServer;
use eventlog::{EventLog, Options, Stores};
use vocabulary::{Clock, Entropy};

/// What the service is built on.
#[derive(Clone)]
pub struct Dependencies {
    /// Where logs are kept.
    pub stores: Stores,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids and secrets.
    pub entropy: Arc<dyn Entropy>,
}

/// The running service.
#[derive(Clone)]
pub struct Service {
    api: api::Api,
}

/// What the service's log is: its tables and its views, for whoever opens it.
pub fn log_options(stores: &Stores, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Options {
    Options {
        service: "workspaces",
        store: stores.of("workspaces"),
        migrations: &[("0001_workspaces", include_str!("../migrations/0001_workspaces.sql"))],
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

/// The text of a new token, for the installation's token file.
pub fn new_token_text(entropy: &dyn Entropy) -> String {
    api::new_token_text(entropy)
}

impl Service {
    /// Adds the service's calls.
    pub fn routes(&self, routes: &mut tonic::service::RoutesBuilder) {
        routes.add_service(WorkspacesServiceServer::new(api::Calls(self.api.clone())));
    }

    /// The service's facts.
    pub fn feed(&self) -> feed::Source {
        feed::Source::new(self.api.log.clone(), publish::Publisher)
    }

    /// The service's background work: none.
    pub fn tasks(&self) -> Vec<runtime::Task> {
        Vec::new()
    }

    /// Makes sure that the workspace exists and that `token`, the text in the installation's token file, is an admin's.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub async fn bootstrap(&self, workspace: &str, token: &str) -> anyhow::Result<()> {
        self.api.bootstrap(workspace, token).await
    }
}
