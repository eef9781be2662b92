//! Opens the service and hands out its parts: gRPC calls, feed, background tasks.

use std::path::PathBuf;
use std::sync::Arc;

use contracts::compute::agent_service_server::AgentServiceServer;
use contracts::compute::compute_service_server::ComputeServiceServer;
use contracts::compute::routes_service_server::RoutesServiceServer;
use contracts::peer::MESSAGE_BYTES_MAX;
use eventlog::{EventLog, Options, Stores};
use runtime::{Shutdown, Task};
use tokio::sync::Notify;
use vocabulary::{Clock, Entropy};

use crate::agents::{Agents, Desk, Door};
use crate::checkpoints::Checkpoints;
use crate::commands::Commands;
use crate::engine::Engine;
use crate::fleet_state::FleetState;
use crate::orders::OrderMaker;
use crate::providers::{LocalProvider, Provider};
use crate::serving::{EndpointCommands, ServingState};
use crate::wiring::NodeWiring;
use crate::{api, engine, measures, publish, reactions, views};

pub(crate) const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_compute", include_str!("../migrations/0001_compute.sql")),
    ("0100_endpoints", include_str!("../migrations/0100_endpoints.sql")),
    ("0200_totals", include_str!("../migrations/0200_totals.sql")),
    ("0201_released_checkpoints", include_str!("../migrations/0201_released_checkpoints.sql")),
];

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
    api: api::Api,
    desk: Arc<Desk>,
    engine: Arc<Engine>,
    checkpoints: Arc<Checkpoints>,
    feeds: feed::Feeds,
}

/// What the service's log is: its tables and its views, for whoever opens it.
pub fn log_options(stores: &Stores, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Options {
    Options {
        service: "compute",
        store: stores.of("compute"),
        migrations: MIGRATIONS,
        views: views::all(),
        clock,
        entropy,
    }
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
    let log = EventLog::open(log_options(&stores, Arc::clone(&clock), Arc::clone(&entropy))).await?;
    let commands = Commands { log, clock, entropy, shutdown };
    let (fleet, agents) = (Arc::new(FleetState::new()), Arc::new(Agents::default()));
    // Before the first call is answered and the first agent connects.
    fleet.load(&commands, || ()).await?;
    let endpoints = EndpointCommands::new(commands.clone(), ServingState::new(&data));
    let orders = OrderMaker { checkpoints: data.join("checkpoints"), signing_key: wiring.signing_key };
    let engine = Engine {
        commands: commands.clone(),
        fleet: Arc::clone(&fleet),
        agents: Arc::clone(&agents),
        orders: orders.clone(),
        provider: Arc::clone(&provider),
        signing_key: wiring.signing_key,
    };
    let desk = Desk {
        commands: commands.clone(),
        fleet: Arc::clone(&fleet),
        agents,
        orders,
        endpoints: endpoints.clone(),
        wiring,
    };
    let checkpoints = Arc::new(Checkpoints {
        commands: commands.clone(),
        fleet: Arc::clone(&fleet),
        folder: data.join("checkpoints"),
        released: Notify::new(),
    });
    let endpoints = api::EndpointCalls { commands: endpoints, fleet: Arc::clone(&fleet) };
    let api = api::Api { commands, fleet, provider, endpoints };
    Ok(Service { api, desk: Arc::new(desk), engine: Arc::new(engine), checkpoints, feeds })
}

impl Service {
    /// What the service measures.
    pub async fn measure(&self) -> Vec<contracts::health::Family> {
        measures::measure(&self.api).await
    }

    /// Adds the service's calls.
    pub fn routes(&self, routes: &mut tonic::service::RoutesBuilder) {
        routes.add_service(
            ComputeServiceServer::new(self.api.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        );
        let router = RoutesServiceServer::new(self.api.endpoints.clone());
        routes.add_service(router.max_encoding_message_size(MESSAGE_BYTES_MAX));
        routes.add_service(
            AgentServiceServer::new(Door { desk: Arc::clone(&self.desk) })
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        );
    }

    /// What the scheduler works with.
    #[cfg(test)]
    pub(crate) fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine)
    }

    /// The service's facts.
    pub fn feed(&self) -> feed::Source {
        feed::Source::new(self.api.commands.log.clone(), publish::Publisher)
    }

    /// The scheduler, and the reactions to other services' facts.
    pub fn tasks(&self) -> Vec<Task> {
        let engine = Arc::clone(&self.engine);
        let mut tasks = vec![Task::new("scheduler", move || engine::run(Arc::clone(&engine)))];
        let Self { api, checkpoints, feeds, .. } = self;
        tasks.extend(reactions::tasks((&api.commands, &api.fleet), checkpoints, &api.endpoints.commands, feeds));
        let checkpoints = Arc::clone(checkpoints);
        tasks.push(Task::new("checkpoints", move || {
            let checkpoints = Arc::clone(&checkpoints);
            async move { checkpoints.keep_removing().await }
        }));
        tasks
    }
}
