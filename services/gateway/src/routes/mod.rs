//! All routes, by noun. A handler's documentation is the operation's in the OpenAPI document, its name the operation's
//! id. To add one: write it, and name it in the `routes!` of its file.

use actix_web::web::ServiceConfig;

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
    aliases, endpoints, deployments, lineage, objects, feed, events, reference,
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
pub(crate) fn register(config: &mut ServiceConfig) {
    FILES.iter().for_each(|file| (file().register)(config));
}
