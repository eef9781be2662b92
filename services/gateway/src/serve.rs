//! The routes on a server, with what is around all of them.

use actix_web::middleware::from_fn;
use actix_web::web::{self, PathConfig, ServiceConfig};
use actix_web::{App, HttpServer};
use utoipa_swagger_ui::{Config, SwaggerUi};
use vocabulary::Problem;

use crate::door::{Refusal, observe, route_not_found};
use crate::gateway::Gateway;
use crate::{routes, telemetry};

/// How long requests under way may still take when the process ends.
const SHUTDOWN_SECONDS: u64 = 5;

/// Registers all routes. Routes of others (scoring) must be registered before: these take whatever is left, to say
/// that it is not there.
pub fn configure(state: web::Data<Gateway>, config: &mut ServiceConfig) {
    // Starts the recorder before the first request is counted.
    telemetry::prometheus();
    let bad_path = |error: actix_web::error::PathError, _: &actix_web::HttpRequest| {
        Refusal(Problem::new(400, "BadPath", format!("path: {error}"))).into()
    };
    let scope = web::scope("")
        .configure(routes::register)
        .service(web::redirect("/", "/docs"))
        .service(SwaggerUi::new("/docs/{_:.*}").config(Config::from("/openapi.json").use_base_layout()))
        .default_service(web::to(route_not_found))
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
