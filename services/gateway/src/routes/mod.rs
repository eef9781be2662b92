//! All routes, by noun. A handler's documentation is the operation's in the OpenAPI document, its name the operation's
//! id. To add one: write it, and name it in the `routes!` of its file.

use actix_web::middleware::from_fn;
use actix_web::web::{self, PathConfig, QueryConfig, ServiceConfig};
use actix_web::{App, HttpServer};
use utoipa_swagger_ui::{Config, SwaggerUi};
use vocabulary::Problem;

use crate::Gateway;
use crate::door::{Refusal, observe, route_not_found};

/// What a file of routes gives: its operations for the server, and for the OpenAPI document.
#[derive(Clone, Copy)]
pub(crate) struct Routes {
    register: fn(&mut ServiceConfig),
    describe: fn() -> utoipa::openapi::OpenApi,
}

/// Names a file's operations, in the order in which they are registered.
macro_rules! routes {
    ($($handler:ident),+ $(,)?) => {
        pub(crate) fn routes() -> super::Routes {
            #[derive(utoipa::OpenApi)]
            #[openapi(paths($($handler),+))]
            struct Documented;
            super::Routes::new(|config| { $(config.service($handler);)+ }, <Documented as utoipa::OpenApi>::openapi)
        }
    };
}
use routes;

/// Names the files of routes, in the order in which they are registered: what is asked most often first.
macro_rules! files {
    ($($file:ident),+ $(,)?) => {
        $(pub(crate) mod $file;)+
        const FILES: &[fn() -> Routes] = &[$($file::routes),+];
    };
}

pub(crate) mod page;

files! {
    metric_points, ask_tell, process, workspaces, tokens, clusters, sweeps, sweep_actions, import,
    fork, importance, trials, experiments, runs, logs, artifacts, models, versions,
    aliases, endpoints, deployments, lineage, objects, feed, events,
}

impl Routes {
    const fn new(register: fn(&mut ServiceConfig), describe: fn() -> utoipa::openapi::OpenApi) -> Self {
        Self { register, describe }
    }
}

/// What all files say of their operations.
pub(crate) fn described() -> utoipa::openapi::OpenApi {
    let mut document = utoipa::openapi::OpenApi::default();
    FILES.iter().for_each(|file| document.merge((file().describe)()));
    document
}

/// Adds every file's operations.
fn register(config: &mut ServiceConfig) {
    FILES.iter().for_each(|file| (file().register)(config));
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
    let scope = web::scope("")
        .configure(register)
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
