//! All routes, by noun. A handler's documentation is the operation's in the OpenAPI document, its name the operation's
//! id.

use actix_web::middleware::from_fn;
use actix_web::web::{self, PathConfig, QueryConfig, ServiceConfig};
use actix_web::{App, HttpServer};
use utoipa_swagger_ui::{Config, SwaggerUi};
use vocabulary::Problem;

use crate::Gateway;
use crate::door::{Refusal, observe, route_not_found};

pub(crate) mod aliases;
pub(crate) mod artifacts;
pub(crate) mod ask_tell;
pub(crate) mod clusters;
pub(crate) mod deployments;
pub(crate) mod endpoints;
pub(crate) mod events;
pub(crate) mod experiments;
pub(crate) mod feed;
pub(crate) mod fork;
pub(crate) mod import;
pub(crate) mod importance;
pub(crate) mod lineage;
pub(crate) mod logs;
pub(crate) mod metric_points;
pub(crate) mod models;
pub(crate) mod objects;
pub(crate) mod page;
pub(crate) mod process;
pub(crate) mod runs;
pub(crate) mod sweep_actions;
pub(crate) mod sweeps;
pub(crate) mod tokens;
pub(crate) mod trials;
pub(crate) mod versions;
pub(crate) mod workspaces;

macro_rules! routes {
    ($($module:ident: $($handler:ident),+;)+) => {
        /// Registers every handler, in this order: what is asked most often first.
        fn register(scope: actix_web::Scope) -> actix_web::Scope {
            scope$($(.service($module::$handler))+)+
        }

        /// What the OpenAPI document is made of.
        #[derive(utoipa::OpenApi)]
        #[openapi(paths($($($module::$handler),+),+))]
        pub(crate) struct Documented;
    };
}

routes! {
    metric_points: record_metrics, list_metrics, get_metric_history;
    ask_tell: ask_trials, tell_trial, heartbeat_trial;
    process: health, readyz, version, metrics, openapi_document, problems_page;
    workspaces: list_workspaces, put_workspace, get_workspace;
    tokens: create_token, list_tokens, revoke_token;
    clusters: list_vm_sizes, list_clusters, put_cluster, get_cluster, update_cluster, delete_cluster, list_nodes,
        preempt_node;
    sweeps: submit_sweep, list_sweeps, get_sweep, update_sweep;
    sweep_actions: pause_sweep, resume_sweep, cancel_sweep, extend_sweep, verify_sweep, what_if;
    import: import_sweep;
    fork: fork_sweep;
    importance: get_importance, compute_importance;
    trials: list_trials, get_trial, explain_trial;
    experiments: create_experiment, list_experiments, get_experiment;
    runs: create_run, list_runs, get_run, update_run, cancel_run, list_children;
    logs: read_logs, append_logs;
    artifacts: list_artifacts, record_artifacts, get_artifact, put_artifact;
    models: list_models, get_model, update_model;
    versions: register_version, list_versions, get_version, update_version;
    aliases: list_alias_history, set_alias, remove_alias;
    endpoints: list_endpoints, put_endpoint, get_endpoint, delete_endpoint, put_traffic;
    deployments: list_deployments, put_deployment, get_deployment, delete_deployment, read_deployment_logs;
    lineage: get_lineage;
    objects: put_object, get_object;
    feed: list_consumers, list_parked_facts, retry_parked_fact, skip_parked_fact, adopt_source;
    events: stream_events, stream_sweep_events, stream_run_events;
}

/// Registers all routes. Routes of others (scoring) must be registered before: these take whatever is left, to say
/// that it is not there.
pub fn configure(state: web::Data<Gateway>, config: &mut ServiceConfig) {
    // Starts the recorder before the first request is counted.
    crate::telemetry::prometheus();
    let bad_query = |error: actix_web::error::QueryPayloadError, _: &actix_web::HttpRequest| {
        Refusal(Problem::new(400, "BadQuery", format!("query: {error}"))).into()
    };
    let bad_path = |error: actix_web::error::PathError, _: &actix_web::HttpRequest| {
        Refusal(Problem::new(400, "BadPath", format!("path: {error}"))).into()
    };
    let scope = register(web::scope(""))
        .service(SwaggerUi::new("/docs/{_:.*}").config(Config::from("/openapi.json").use_base_layout()))
        .service(web::redirect("/docs", "/docs/"))
        .default_service(web::to(route_not_found))
        .app_data(QueryConfig::default().error_handler(bad_query))
        .app_data(PathConfig::default().error_handler(bad_path))
        .app_data(state.clone())
        .wrap(from_fn(observe));
    config.app_data(state).service(scope);
}

/// Serves the routes alone on `listen` until shutdown is requested: a gateway without scoring beside it.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(state: web::Data<Gateway>, listen: &str, workers: usize) -> std::io::Result<()> {
    let shutdown = state.shutdown().clone();
    let make = move || App::new().configure(|config| configure(state.clone(), config));
    let server =
        HttpServer::new(make).workers(workers).disable_signals().shutdown_timeout(SHUTDOWN_SECONDS).bind(listen)?.run();
    let handle = server.handle();
    let stop = async move {
        shutdown.requested().await;
        handle.stop(true).await;
    };
    tokio::join!(server, stop).0
}

/// How long requests under way may still take when the process ends.
const SHUTDOWN_SECONDS: u64 = 5;
