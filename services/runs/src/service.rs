//! Opens the service and hands out its parts: gRPC routes, feed, background tasks.

use std::sync::Arc;

use contracts::runs::runs_service_server::RunsServiceServer;
use eventlog::{EventLog, Options, Stores};
use runtime::{Shutdown, Task};
use vocabulary::{Clock, Entropy};

pub(crate) use crate::core::Core;
use crate::known_experiments::Known;
use crate::logs::Wake;
use crate::objects::Objects;
use crate::views::canceled_runs::CanceledRunsView;
use crate::views::code_objects::CodeObjects;
use crate::views::creations::CreationsView;
use crate::views::experiments::ExperimentsView;
use crate::views::nested_runs::NestedRuns;
use crate::views::object_owners::ObjectOwners;
use crate::views::runs::{RunsView, VersionsView};
use crate::{api, publish, reactions};
use crate::{belonging, collection};

const MIGRATIONS: &[(&str, &str)] = &[
    ("001_runs", include_str!("../migrations/001_runs.sql")),
    ("002_metrics", include_str!("../migrations/002_metrics.sql")),
    ("003_logs_artifacts", include_str!("../migrations/003_logs_artifacts.sql")),
    ("004_run_versions", include_str!("../migrations/004_run_versions.sql")),
    ("005_late", include_str!("../migrations/005_late.sql")),
    ("006_object_owners", include_str!("../migrations/006_object_owners.sql")),
    ("007_canceled_runs", include_str!("../migrations/007_canceled_runs.sql")),
    ("008_nested_runs", include_str!("../migrations/008_nested_runs.sql")),
    ("009_deleted_runs", include_str!("../migrations/009_deleted_runs.sql")),
    ("010_own_rows", include_str!("../migrations/010_own_rows.sql")),
    ("011_what_stays", include_str!("../migrations/011_what_stays.sql")),
    ("012_owners_by_object", include_str!("../migrations/012_owners_by_object.sql")),
    ("013_object_store", include_str!("../migrations/013_object_store.sql")),
];

/// What the service is given.
pub struct Dependencies {
    /// Where logs are kept.
    pub stores: Stores,
    /// Where objects are kept.
    pub objects: Objects,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where new ids come from.
    pub entropy: Arc<dyn Entropy>,
    /// Where facts come from: those of sweeps and compute are followed.
    pub feeds: feed::Feeds,
    /// Ends the followers and the live tails.
    pub shutdown: Shutdown,
    /// Proves who is the agent of a node.
    pub signing_key: [u8; 32],
}

/// The runs service.
pub struct Service {
    core: Arc<Core>,
    feeds: feed::Feeds,
}

/// What the service's log is: its tables and its views, for whoever opens it.
pub fn log_options(stores: &Stores, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Options {
    Options {
        service: "runs",
        store: stores.of("runs"),
        migrations: MIGRATIONS,
        views: vec![
            Arc::new(ExperimentsView),
            Arc::new(RunsView),
            Arc::new(VersionsView),
            Arc::new(CreationsView(ObjectOwners)),
            Arc::new(CanceledRunsView),
            Arc::new(CreationsView(NestedRuns)),
            Arc::new(CreationsView(CodeObjects)),
        ],
        clock,
        entropy,
    }
}

/// Opens the database, and looks whether the objects are its own.
///
/// # Errors
/// When it cannot be opened, or they are not.
pub async fn open(dependencies: Dependencies) -> anyhow::Result<Service> {
    let Dependencies { stores, objects, clock, entropy, feeds, shutdown, signing_key } = dependencies;
    let log = EventLog::open(log_options(&stores, Arc::clone(&clock), Arc::clone(&entropy))).await?;
    objects.begin()?;
    let (wake, experiments) = (Wake::default(), Known::default());
    let (naming, released) = (tokio::sync::RwLock::default(), tokio::sync::Notify::new());
    let opened_at = clock.now();
    let core =
        Core { log, clock, entropy, objects, opened_at, naming, released, wake, experiments, shutdown, signing_key };
    if !core.log.is_read_only() {
        belonging::check(&core).await?;
    }
    Ok(Service { core: Arc::new(core), feeds })
}

impl Service {
    /// Adds the gRPC services.
    pub fn routes(&self, routes: &mut tonic::service::RoutesBuilder) {
        let server = RunsServiceServer::new(self.api())
            .max_decoding_message_size(contracts::peer::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(contracts::peer::MESSAGE_BYTES_MAX);
        routes.add_service(server);
    }

    /// The calls themselves.
    pub fn api(&self) -> api::Api {
        api::Api::new(Arc::clone(&self.core))
    }

    /// The facts of this service.
    pub fn feed(&self) -> feed::Source {
        feed::Source::new(self.core.log.clone(), publish::Publisher)
    }

    /// The log, e.g. to close it at the end.
    pub fn log(&self) -> &EventLog {
        &self.core.log
    }

    /// What runs beside the calls: the followers of sweeps and compute, and who removes what nobody names.
    pub fn tasks(&self) -> Vec<Task> {
        let follow = |reaction| self.feeds.follow(&self.core.log, reaction, &self.core.shutdown);
        let core = Arc::clone(&self.core);
        let collect = Task::new("collect_objects", move || collection::keep_collecting(Arc::clone(&core)));
        reactions::all(&self.core).into_iter().map(follow).chain([collect]).collect()
    }
}
