//! How the services that run here meet. The difference between a laptop and a fleet is in the plan and in
//! configuration.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use contracts::Peers;
use contracts::health::health_service_server::HealthServiceServer;
use runtime::{Health, MachineEntropy, Shutdown, SteadyClock, Task};
use tonic::service::{Routes, RoutesBuilder};
use vocabulary::{Clock, Entropy};

use super::health::{self, HealthServer};
use super::held::Held;
use super::measures::Measures;
use super::plan::{Plan, SERVICES};
use super::reads::Reads;

/// The workspace that the first start makes.
const FIRST_WORKSPACE: &str = "default";

/// The servers and background tasks of the services that run here.
struct Assembly {
    routes: RoutesBuilder,
    stores: eventlog::Stores,
    feeds: feed::Feeds,
    logs: Vec<eventlog::EventLog>,
    tasks: Vec<Task>,
    health: Health,
    measures: Measures,
    shutdown: Shutdown,
}

impl Assembly {
    /// Adds what stands behind a service's calls. One that only reads has nothing but these.
    fn add(&mut self, service: &'static str, source: feed::Source, tasks: Vec<Task>) {
        let (store, log) = (self.stores.of(service), source.log().clone());
        self.logs.push(log.clone());
        if log.is_read_only() {
            return;
        }
        health::watch_writer(service, store.clone(), log.clone(), self.shutdown.clone(), &self.health);
        self.measures.add_log(service, &log, store);
        self.tasks.push(super::journal::task(service, &log, &self.shutdown));
        self.tasks.extend(self.feeds.relay(&source, &self.shutdown).map(|task| task.of(service)));
        self.feeds.add(service, source);
        self.tasks.extend(tasks.into_iter().map(|task| task.of(service)));
    }
}

/// Adds a service to the assembly: the same steps for each.
macro_rules! add {
    ($assembly:ident, $name:literal, $service:expr) => {{
        let service = $service;
        service.routes(&mut $assembly.routes);
        let source = service.feed();
        $assembly.add($name, source, service.tasks());
        service
    }};
}

/// Shows what a service measures.
macro_rules! measured {
    ($assembly:ident, $name:literal, $service:expr) => {{
        let service = $service;
        $assembly.measures.add($name, move || {
            let service = service.clone();
            async move { service.measure().await }
        });
    }};
}

/// Opens the services, connects them, listens, and runs until shutdown is requested.
pub async fn run(plan: Plan) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    shutdown.watch_signals()?;
    let entropy: Arc<dyn Entropy> = Arc::new(MachineEntropy::default());
    // One for the whole process: whatever falls due here is compared with the same time.
    let steady = Arc::new(SteadyClock::continued(&plan.folder.root().join("run/clock")));
    let clock: Arc<dyn Clock> = Arc::clone(&steady) as Arc<dyn Clock>;
    let signing_key = match plan.place.signing_key {
        Some(key) => key,
        None => plan.folder.signing_key(entropy.as_ref())?,
    };
    let peers = plan.peers()?;
    let (tls, ca_file) = (super::tls::of(&plan.settings.http)?, super::tls::ca_file(&plan.settings.http)?);
    let read = async || {
        let (stores, health) = (plan.stores.read_only(), Health::new());
        let assembled =
            assemble(&plan, (stores, &peers), (&shutdown, &health), (&clock, &entropy), signing_key, ("", None));
        let (routes, _, logs) = assembled.await?;
        Ok(Reads::new(routes, logs))
    };
    if !super::standby::wait(&plan, signing_key, &shutdown, read).await? {
        return Ok(());
    }
    let keeping = super::standby::keep(&plan);
    // Bound before anything is opened: with port 0 the jobs' environment needs the real port.
    let (listener, url) = bound(&plan, tls.is_some())?;
    let health = Health::new();
    let (routes, mut tasks, logs) = {
        let (stores, reached) = (plan.stores.clone(), (url.as_str(), ca_file.as_deref()));
        assemble(&plan, (stores, &peers), (&shutdown, &health), (&clock, &entropy), signing_key, reached).await?
    };
    drop(keeping);
    super::databases::remember(plan.folder.root(), &plan.stores).await?;
    let routes = if plan.is_shared() { while_held(routes, &mut tasks, &logs, &shutdown) } else { routes };
    for service in SERVICES.iter().filter(|service| plan.runs_here(service)) {
        if let Some(peer) = peers.by_name(service) {
            peer.connect_routes(routes.clone());
        }
    }
    tasks.push(kept(steady, &shutdown));
    super::listen::grpc(&plan, signing_key, routes, &shutdown, &mut tasks)?;
    let front = match listener {
        Some(listener) => {
            let (url, shutdown, health) = (url.clone(), shutdown.clone(), health.clone());
            let door = super::listen::Door { peers, signing_key, url, clock, entropy, shutdown, health };
            Some(super::listen::http(door, (listener, tls), plan.settings.http.workers, &mut tasks)?)
        }
        None => None,
    };
    let (root, free) = (plan.folder.root(), plan.settings.disk.free_bytes_min);
    tasks.push(super::disk::watch(root, &plan.place.services, free, &health, &shutdown));
    let mut running = runtime::supervise(tasks, &shutdown, &health);
    announce(&plan, &url, ca_file.as_deref())?;
    shutdown.requested().await;
    tracing::info!(reason = shutdown.failure().unwrap_or("asked to"), "the server ends");
    if let Some(front) = front {
        front.stop(true).await;
    }
    while running.join_next().await.is_some() {}
    // What lies beside the databases is written back: a copy of the files of a server that has ended is a backup.
    futures_util::future::join_all(logs.into_iter().map(eventlog::EventLog::close)).await;
    plan.folder.withdraw();
    tracing::info!("the server has ended");
    match shutdown.failure() {
        Some(reason) => anyhow::bail!("{reason}"),
        None => Ok(()),
    }
}

/// Says that the server is here, and where.
fn announce(plan: &Plan, url: &str, ca_file: Option<&Path>) -> anyhow::Result<()> {
    plan.folder.announce(url, ca_file)?;
    let (version, services) = (env!("CARGO_PKG_VERSION"), plan.place.services.join(","));
    let data = plan.folder.root().display();
    tracing::info!(version, url, %data, services, "the server has started");
    if plan.runs_here("gateway") {
        runtime::print_line(format_args!("trialog {version} at {url} (docs: {url}/docs)"));
    }
    Ok(())
}

/// Routes and tasks of logs that other processes reach.
fn while_held(routes: Routes, tasks: &mut Vec<Task>, logs: &[eventlog::EventLog], shutdown: &Shutdown) -> Routes {
    let held = Held::new(logs.to_vec());
    *tasks = std::mem::take(tasks).into_iter().map(|task| held.task(task)).collect();
    let (watched, shutdown) = (held.clone(), shutdown.clone());
    tasks.push(Task::new("lease", move || watched.clone().tell(shutdown.clone())));
    held.routes(routes)
}

/// The task of the clock, which leaves its time for the next start.
fn kept(steady: Arc<SteadyClock>, shutdown: &Shutdown) -> Task {
    let shutdown = shutdown.clone();
    Task::new("clock", move || {
        let (steady, shutdown) = (Arc::clone(&steady), shutdown.clone());
        async move { steady.keep(&shutdown).await }
    })
}

/// The listener of REST when it is here, and the address under which it is reached.
fn bound(plan: &Plan, is_secure: bool) -> anyhow::Result<(Option<std::net::TcpListener>, String)> {
    let (http, scheme) = (&plan.settings.http, if is_secure { "https" } else { "http" });
    let address = &http.listen;
    let listener = if plan.runs_here("gateway") {
        let listener = std::net::TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        listener.set_nonblocking(true)?;
        if !is_secure {
            let way_out = "give --tls-certificate and --tls-key, or let a proxy with TLS listen there";
            super::tls::warn_without(listener.local_addr()?, "REST", way_out);
        }
        Some(listener)
    } else {
        None
    };
    let url = match (&http.public_url, &listener) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(listener)) => format!("{scheme}://{}", listener.local_addr()?),
        (None, None) => plan.place.peers.get("gateway").cloned().unwrap_or_else(|| format!("{scheme}://{address}")),
    };
    Ok((listener, url))
}

/// Where a service failed to open.
fn database_of(plan: &Plan, service: &str) -> String {
    format!("{service} cannot be opened; its database is {}", plan.stores.of(service))
}

/// What nodes and their agents are told of this installation.
fn node_wiring(
    plan: &Plan,
    (url, ca_file): (&str, Option<&Path>),
    signing_key: [u8; 32],
) -> anyhow::Result<compute::NodeWiring> {
    Ok(compute::NodeWiring {
        executable: std::env::current_exe()?,
        compute_address: format!("unix:{}", plan.folder.socket().display()),
        runs_address: plan.address("runs"),
        runs_ca: plan.runs_ca(),
        api_url: url.to_owned(),
        ca_file: ca_file.map(|path| path.display().to_string()).unwrap_or_default(),
        agents_away: Duration::try_from_secs_f64(plan.settings.compute.agents_away_seconds)
            .context("compute.agents_away_seconds")?,
        signing_key,
    })
}

/// Makes sure of the first workspace and of the admin's token, which is shown when it is new.
async fn bootstrap(plan: &Plan, service: &workspaces::Service, entropy: &dyn Entropy) -> anyhow::Result<()> {
    let (token, is_new) = plan.folder.admin_token(entropy)?;
    service.bootstrap(FIRST_WORKSPACE, &token).await?;
    if is_new && plan.shows_token {
        let place = plan.folder.root().display();
        runtime::print_line(format_args!("admin token (shown once; also in {place}/admin.token): {token}"));
    }
    Ok(())
}

async fn assemble(
    plan: &Plan,
    (stores, peers): (eventlog::Stores, &Peers),
    (shutdown, health): (&Shutdown, &Health),
    (clock, entropy): (&Arc<dyn Clock>, &Arc<dyn Entropy>),
    signing_key: [u8; 32],
    reached: (&str, Option<&Path>),
) -> anyhow::Result<(Routes, Vec<Task>, Vec<eventlog::EventLog>)> {
    let data = plan.folder.root().to_path_buf();
    let mut assembly = Assembly {
        stores: stores.clone(),
        routes: Routes::builder(),
        feeds: plan.settings.feed.feeds(peers.clone())?,
        logs: Vec::new(),
        tasks: Vec::new(),
        health: health.clone(),
        measures: Measures::default(),
        shutdown: shutdown.clone(),
    };
    if plan.runs_here("workspaces") {
        let dependencies =
            workspaces::Dependencies { stores: stores.clone(), clock: clock.clone(), entropy: entropy.clone() };
        let service = workspaces::open(dependencies).await.with_context(|| database_of(plan, "workspaces"))?;
        let service = add!(assembly, "workspaces", service);
        if !stores.are_read_only() {
            bootstrap(plan, &service, entropy.as_ref()).await?;
        }
    }
    macro_rules! common {
        ($service:ident { $($extra:tt)* }) => {
            $service::Dependencies {
                stores: stores.clone(), clock: clock.clone(), entropy: entropy.clone(), shutdown: shutdown.clone(),
                $($extra)*
            }
        };
    }
    if plan.runs_here("runs") {
        let objects = plan.settings.objects.open(&data)?;
        let dependencies = common!(runs { feeds: assembly.feeds.clone(), objects, signing_key });
        add!(assembly, "runs", runs::open(dependencies).await.with_context(|| database_of(plan, "runs"))?);
    }
    if plan.runs_here("sweeps") {
        let settings = &plan.settings.sweeps;
        let limits = sweeps::document::ServerLimits {
            max_total_trials: settings.max_trials,
            max_concurrent_trials: settings.max_concurrent_trials,
        };
        let dependencies = common!(sweeps { feeds: assembly.feeds.clone(), limits });
        let service = sweeps::open(dependencies).await.with_context(|| database_of(plan, "sweeps"))?;
        measured!(assembly, "sweeps", add!(assembly, "sweeps", service));
    }
    if plan.runs_here("models") {
        let dependencies = common!(models { peers: peers.clone() });
        add!(assembly, "models", models::open(dependencies).await.with_context(|| database_of(plan, "models"))?);
    }
    if plan.runs_here("compute") {
        let wiring = node_wiring(plan, reached, signing_key)?;
        let dependencies = common!(compute { feeds: assembly.feeds.clone(), data: data.clone(), wiring });
        let service = compute::open(dependencies).await.with_context(|| database_of(plan, "compute"))?;
        measured!(assembly, "compute", add!(assembly, "compute", service));
    }
    let Assembly { mut routes, feeds, logs, tasks, measures, .. } = assembly;
    feeds.routes(&mut routes);
    routes.add_service(HealthServiceServer::new(HealthServer::new(health.clone(), &plan.place.services, measures)));
    Ok((routes.routes(), tasks, logs))
}
