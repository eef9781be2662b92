//! Opens the service and hands out its parts: gRPC calls, feed, background tasks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use contracts::compute::agent_service_server::AgentServiceServer;
use contracts::compute::compute_service_server::ComputeServiceServer;
use contracts::compute::routes_service_server::RoutesServiceServer;
use contracts::peer::MESSAGE_BYTES_MAX;
use eventlog::{EventLog, Options, Stores};
use runtime::{Shutdown, Task};
use vocabulary::{Clock, Entropy};

use crate::core::Core;
use crate::providers::{LocalProvider, Provider};
use crate::{agents, api, engine, publish, reactions, views};

pub(crate) const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_compute", include_str!("../migrations/0001_compute.sql")),
    ("0100_endpoints", include_str!("../migrations/0100_endpoints.sql")),
];

/// How nodes are started and whom they speak to.
#[derive(Clone)]
pub struct NodeWiring {
    /// The program whose `agent` command is a node.
    pub executable: PathBuf,
    /// Where agents find compute: `unix:PATH` or `http://HOST:PORT`.
    pub compute_address: String,
    /// Where agents find runs.
    pub runs_address: String,
    /// TRIALOG_API_URL of jobs.
    pub api_url: String,
    /// How long agents stay when the server does not come back, once nothing runs on their nodes.
    pub agents_away: Duration,
    /// Seals the tokens of runs and nodes.
    pub signing_key: [u8; 32],
}

/// What the service is built on.
#[derive(Clone)]
pub struct Dependencies {
    /// Where logs are kept.
    pub stores: Stores,
    /// The data folder: `nodes/` and `checkpoints/` below it are this service's.
    pub data: PathBuf,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub entropy: Arc<dyn Entropy>,
    /// Where facts come from: those of runs are followed.
    pub feeds: feed::Feeds,
    /// The end. Nodes and their jobs outlive it.
    pub shutdown: Shutdown,
    /// How nodes are started.
    pub wiring: NodeWiring,
}

/// The running service.
#[derive(Clone)]
pub struct Service {
    core: Arc<Core>,
    feeds: feed::Feeds,
}

/// Opens the service on its database.
///
/// # Errors
/// When the database cannot be opened.
pub async fn open(dependencies: Dependencies) -> anyhow::Result<Service> {
    let provider = LocalProvider::new(&dependencies.data, dependencies.wiring.clone(), Arc::clone(&dependencies.clock));
    open_with(dependencies, Arc::new(provider)).await
}

/// The same with another provider.
pub(crate) async fn open_with(dependencies: Dependencies, provider: Arc<dyn Provider>) -> anyhow::Result<Service> {
    let Dependencies { stores, data, clock, entropy, feeds, shutdown, wiring } = dependencies;
    let log = EventLog::open(Options {
        service: "compute",
        store: stores.of("compute"),
        migrations: MIGRATIONS,
        views: views::all(),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
    })
    .await?;
    let core = Arc::new(Core::new(log, clock, entropy, shutdown, (data, wiring), provider));
    // Before the first call is answered and the first agent connects.
    core.load().await?;
    Ok(Service { core, feeds })
}

impl Service {
    /// Adds the service's calls.
    pub fn routes(&self, routes: &mut tonic::service::RoutesBuilder) {
        let core = Arc::clone(&self.core);
        routes.add_service(
            ComputeServiceServer::new(api::Api { core: Arc::clone(&core) })
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        );
        routes.add_service(RoutesServiceServer::new(core.serving.clone()).max_encoding_message_size(MESSAGE_BYTES_MAX));
        routes.add_service(
            AgentServiceServer::new(agents::Door { core })
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        );
    }

    /// The service's facts.
    pub fn feed(&self) -> feed::Source {
        feed::Source::new(self.core.log.clone(), publish::Publisher)
    }

    /// The scheduler, and the reactions to other services' facts.
    pub fn tasks(&self) -> Vec<Task> {
        let core = Arc::clone(&self.core);
        let mut tasks = vec![Task::new("scheduler", move || engine::run(Arc::clone(&core)))];
        tasks.extend(self.core.serving.tasks());
        tasks.extend(reactions::tasks(&self.core, &self.feeds));
        tasks
    }
}
