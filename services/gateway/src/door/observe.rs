//! Around every request: its id, its problem's last form, its count and its time.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest, web};
use runtime::Stopwatch;
use vocabulary::Problem;
use vocabulary::ids::base32;

use super::near::with_near;
use super::{Refusal, RequestId, render, template_of};
use crate::Gateway;

/// Longest id of the client's own that comes back; more would make headers a place to store things.
const CLIENT_ID_LENGTH_MAX: usize = 40;

/// What the pages under `/docs` may do: show this server's own files. They are in no frame, where a click could be
/// meant for something else.
const PAGES: &str = "/docs";
const PAGE_RULES: [(HeaderName, &str); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
         font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (X_FRAME_OPTIONS, "DENY"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
];

/// The middleware.
///
/// # Errors
/// Those of the services inside that are no answers.
pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let watch = Stopwatch::start();
    let gateway = request.app_data::<web::Data<Gateway>>().cloned();
    let id = gateway.map(|gateway| base32(gateway.entropy().uuid().as_u128())).unwrap_or_default();
    let client_id = request.headers().get("x-request-id").and_then(|value| value.to_str().ok()).map(clean);
    request.extensions_mut().insert(RequestId(id.clone()));

    let answered = next.call(request).await?.map_into_boxed_body();
    let problem = answered.response().error().and_then(|error| error.as_error::<Refusal>());
    let problem = problem.map(|refusal| refusal.0.clone());
    let refused = match problem {
        Some(problem) => {
            let problem = with_near(answered.request(), &problem).await.unwrap_or(problem);
            tell(answered.request(), &id, &problem);
            Some(render(&problem, &id))
        }
        None => None,
    };
    let mut answered = match refused {
        Some(response) => answered.into_response(response),
        None => answered,
    };
    let is_page = answered.request().path().starts_with(PAGES);
    let headers = answered.headers_mut();
    if is_page {
        for (name, rule) in PAGE_RULES {
            headers.insert(name, HeaderValue::from_static(rule));
        }
    }
    for (name, value) in [("x-request-id", Some(id)), ("x-client-request-id", client_id)] {
        if let Some(value) = value.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    count(&answered, &watch);
    Ok(answered)
}

/// What was refused, with the id that the client was given. Without the detail below 500: it repeats what was sent.
fn tell(request: &HttpRequest, request_id: &str, problem: &Problem) {
    let route = template_of(request).unwrap_or_else(|| "unmatched".to_owned());
    let (method, status, code) = (request.method().as_str(), problem.status, problem.code.as_str());
    match status {
        500.. => tracing::warn!(request_id, method, route, status, code, "failed: {problem}"),
        _ => tracing::info!(request_id, method, route, status, code, "refused"),
    }
}

fn clean(id: &str) -> String {
    id.chars().filter(char::is_ascii_graphic).take(CLIENT_ID_LENGTH_MAX).collect()
}

fn count(answered: &ServiceResponse, watch: &Stopwatch) {
    let request = answered.request();
    // The template, never the path: labels must stay few.
    let route = template_of(request).unwrap_or_else(|| "unmatched".to_owned());
    let method = request.method().to_string();
    let status = answered.status().as_str().to_owned();
    let seconds = watch.elapsed().as_secs_f64();
    let labels = [("method", method.clone()), ("route", route.clone()), ("status", status)];
    metrics::counter!("trialog_http_requests_total", &labels).increment(1);
    metrics::histogram!("trialog_http_request_seconds", "method" => method, "route" => route).record(seconds);
}
