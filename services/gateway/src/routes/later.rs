//! Routes that a later version offers: said plainly, never as if they did not exist.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, http::Method};
use vocabulary::Problem;

use crate::door::{Call, Refusal, Reply};

const LATER: &[&str] = &["/api/v1/workspaces/{workspace}/sweeps/{sweep:[^/:]+}:whatif"];

/// Registers them.
pub(crate) fn register(config: &mut ServiceConfig) {
    for path in LATER {
        for method in [Method::POST, Method::GET] {
            config.route(path, web::method(method).to(not_offered));
        }
    }
}

async fn not_offered(_call: Call, request: HttpRequest) -> Reply {
    let verb = request.path().rsplit(':').next().unwrap_or_default();
    Err(Refusal(Problem::new(422, "NotOfferedYet", format!("':{verb}' is not offered by this version"))))
}
