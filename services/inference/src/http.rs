//! The scoring API: `/endpoints/{workspace}/{endpoint}/{score,invocations}` and the health of an endpoint.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use runtime::Stopwatch;
use uuid::Uuid;
use vocabulary::{Problem, request_id};

use crate::Inference;
use crate::failure::Failure;
use crate::frame::{Kind, NonFinite};
use crate::serve::{Aim, Answer, Content, Served};

/// Largest body of a request: a batch of images; larger work belongs into a job.
const BODY_BYTES_MAX: usize = 16 << 20;
/// How long a client may take to send a body; it counts as in flight meanwhile.
const BODY_WAIT: Duration = Duration::from_secs(30);
/// Longest id of a client that is accepted, in characters.
const CLIENT_ID_RECEIVED_MAX: usize = 100;
/// Longest id of a client that is given back.
const CLIENT_ID_SHOWN_MAX: usize = 40;
/// Longest content type that is passed on; no media type with its parameters comes near.
const CONTENT_TYPE_BYTES_MAX: usize = 256;
/// Longest reason of a model error in a header.
const REASON_BYTES_MAX: usize = 200;
/// Where clients say which deployment they want; the second is Azure ML's.
const DEPLOYMENT_HEADERS: [&str; 2] = ["trialog-deployment", "azureml-model-deployment"];
/// Where clients say whether the request may be sent twice: `true` or `false`.
const IDEMPOTENT_HEADER: &str = "trialog-idempotent";
/// Where clients say how they take NaN and infinities: `text`.
const NON_FINITE_HEADER: &str = "trialog-non-finite";
/// Where clients say how they call the request.
const CLIENT_ID_HEADERS: [&str; 3] = ["x-client-request-id", "x-ms-client-request-id", "x-request-id"];

/// Mounts the scoring API.
pub fn configure(state: web::Data<Inference>, config: &mut ServiceConfig) {
    let methods = || web::route().to(wrong_method);
    config.service(
        web::scope("/endpoints/{workspace}/{endpoint}")
            .app_data(state)
            .service(web::resource("/score").route(web::post().to(score)).default_service(methods()))
            .service(web::resource("/invocations").route(web::post().to(invocations)).default_service(methods()))
            .service(web::resource("/health").route(web::get().to(health)).default_service(methods()))
            .service(web::resource(["", "/"]).route(web::get().to(health)).default_service(methods()))
            .default_service(web::route().to(no_such_route)),
    );
}

type Path = web::Path<(String, String)>;

async fn score(state: web::Data<Inference>, path: Path, request: HttpRequest, body: web::Payload) -> HttpResponse {
    handle(&state, path.into_inner(), &request, body, Kind::Score).await
}

async fn invocations(
    state: web::Data<Inference>,
    path: Path,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    handle(&state, path.into_inner(), &request, body, Kind::Invocations).await
}

async fn health(state: web::Data<Inference>, path: Path, request: HttpRequest) -> HttpResponse {
    let (id, path) = (state.dependencies.entropy.uuid(), path.into_inner());
    let healthy = aim(&state, path, &request).and_then(|aim| state.health(&aim));
    match healthy {
        Ok(()) => HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("Healthy"),
        Err(failure) => refusal(&failure, &request_id::mint(0, id)),
    }
}

async fn wrong_method(state: web::Data<Inference>, request: HttpRequest) -> HttpResponse {
    let detail = format!("{} is not offered here; scoring is POST, health is GET", request.method());
    let failure = Failure::Refused(Problem::new(405, "MethodNotAllowed", detail));
    refusal(&failure, &request_id::mint(0, state.dependencies.entropy.uuid()))
}

async fn no_such_route(state: web::Data<Inference>, request: HttpRequest) -> HttpResponse {
    let detail = format!("'{}'; an endpoint has score, invocations and health", request.path());
    let failure = Failure::Refused(Problem::new(404, "NotFound", detail));
    refusal(&failure, &request_id::mint(0, state.dependencies.entropy.uuid()))
}

async fn handle(
    state: &Inference,
    path: (String, String),
    request: &HttpRequest,
    body: web::Payload,
    kind: Kind,
) -> HttpResponse {
    let watch = Stopwatch::start();
    let id = state.dependencies.entropy.uuid();
    let client_id = match client_id(request) {
        Ok(client_id) => client_id,
        Err(problem) => return refusal(&Failure::Refused(problem), &request_id::mint(0, id)),
    };
    let (workspace, endpoint) = path.clone();
    let mut served = None;
    let outcome = answer(state, path, request, body, kind, id, &mut served).await;
    let meant = outcome.as_ref().err().and_then(|failure| failure.deployment().map(str::to_owned));
    let deployment = meant.or_else(|| served.as_ref().map(|served: &Served| served.deployment.clone()));
    let mut response = match outcome {
        Ok(answer) => HttpResponse::Ok().insert_header((CONTENT_TYPE, answer.content_type)).body(answer.body),
        Err(failure) => {
            let id = served.as_ref().map_or_else(|| request_id::mint(0, id), |served| served.request_id.clone());
            refusal(&failure, &id)
        }
    };
    let table = state.table.load();
    if let Some(counts) = table.counts_of(&workspace, &endpoint, deployment.as_deref()) {
        counts.count(response.status().as_u16(), watch.elapsed());
    }
    let headers = response.headers_mut();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(actix_web::http::header::HeaderName::from_static(name), value);
        }
    };
    put("trialog-endpoint", &endpoint);
    if let Some(Served { deployment, model_version, request_id }) = &served {
        put("trialog-deployment", deployment);
        put("trialog-model-version", model_version);
        put("x-request-id", request_id);
    }
    if let Some(client_id) = client_id {
        put("x-client-request-id", &client_id);
    }
    response
}

async fn answer(
    state: &Inference,
    path: (String, String),
    request: &HttpRequest,
    body: web::Payload,
    kind: Kind,
    id: Uuid,
    served: &mut Option<Served>,
) -> Result<Answer, Failure> {
    let aim = aim(state, path, request)?;
    let idempotent = idempotent(request).map_err(Failure::Refused)?;
    let non_finite = non_finite(request).map_err(Failure::Refused)?;
    let _admitted = state.admit_when_known(&aim).await?;
    let body = read(body).await.map_err(Failure::Refused)?;
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.filter(|text| text.len() <= CONTENT_TYPE_BYTES_MAX);
    let content_type = content_type.unwrap_or("application/json").to_owned();
    state.serve(&aim, &Content { kind, content_type, body, idempotent, non_finite }, id, served).await
}

/// Whether the client says that the request may be sent twice.
fn idempotent(request: &HttpRequest) -> Result<Option<bool>, Problem> {
    let Some(value) = request.headers().get(IDEMPOTENT_HEADER) else { return Ok(None) };
    match value.as_bytes() {
        b"true" => Ok(Some(true)),
        b"false" => Ok(Some(false)),
        other => {
            let received = String::from_utf8_lossy(other);
            Err(Problem::new(400, "BadHeader", format!("{IDEMPOTENT_HEADER} '{received}': one of true, false")))
        }
    }
}

/// How the client takes numbers that JSON does not have.
fn non_finite(request: &HttpRequest) -> Result<Option<NonFinite>, Problem> {
    let Some(value) = request.headers().get(NON_FINITE_HEADER) else { return Ok(None) };
    if value.as_bytes() == b"text" {
        return Ok(Some(NonFinite::Text));
    }
    let received = String::from_utf8_lossy(value.as_bytes());
    Err(Problem::new(400, "BadHeader", format!("{NON_FINITE_HEADER} '{received}': only text is known")))
}

/// Where the request may go, when it may go anywhere.
fn aim(state: &Inference, path: (String, String), request: &HttpRequest) -> Result<Aim, Failure> {
    let (workspace, endpoint) = path;
    (state.dependencies.authenticate)(request, &workspace, &endpoint).map_err(Failure::Refused)?;
    let named = DEPLOYMENT_HEADERS.iter().find_map(|name| request.headers().get(*name));
    let named = named.map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned());
    Ok(Aim { workspace, endpoint, named, draw: state.dependencies.entropy.seed() })
}

async fn read(body: web::Payload) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body is larger than {BODY_BYTES_MAX} bytes; send fewer rows at a time");
        Problem::new(413, "BodyTooLarge", detail)
    };
    match tokio::time::timeout(BODY_WAIT, body.to_bytes_limited(BODY_BYTES_MAX)).await {
        Ok(Ok(Ok(body))) => Ok(body),
        Ok(Ok(Err(error))) => Err(Problem::new(400, "MalformedBody", format!("the body broke off: {error}"))),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => {
            let detail = format!("the body did not arrive within {} s", BODY_WAIT.as_secs());
            Err(Problem::new(408, "RequestTimeout", detail))
        }
    }
}

/// The client's own id, cleaned of what cannot stand in a log.
fn client_id(request: &HttpRequest) -> Result<Option<String>, Problem> {
    let Some((name, value)) =
        CLIENT_ID_HEADERS.iter().find_map(|name| request.headers().get(*name).map(|value| (name, value)))
    else {
        return Ok(None);
    };
    if value.len() > CLIENT_ID_RECEIVED_MAX {
        let detail = format!("{name} has {} characters; at most {CLIENT_ID_RECEIVED_MAX} are allowed", value.len());
        return Err(Problem::new(431, "HeaderTooLong", detail));
    }
    let kept = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/' | '+' | '=');
    let text = String::from_utf8_lossy(value.as_bytes()).chars().filter(kept).take(CLIENT_ID_SHOWN_MAX).collect();
    Ok(Some(text).filter(|text: &String| !text.is_empty()))
}

/// problem+json with the headers that belong to it.
fn refusal(failure: &Failure, request_id: &str) -> HttpResponse {
    let problem = failure.problem();
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponseBuilder::new(status);
    response.insert_header((CONTENT_TYPE, "application/problem+json")).insert_header(("x-request-id", request_id));
    if let Some(seconds) = problem.retry_after_seconds {
        response.insert_header((RETRY_AFTER, seconds.to_string()));
    }
    if let Failure::Model(error) = failure {
        response.insert_header(("trialog-model-error-status", error.status.to_string()));
        if let Ok(reason) = HeaderValue::from_str(&header_text(&error.reason)) {
            response.insert_header(("trialog-model-error-reason", reason));
        }
    }
    let mut body = problem.extra;
    for (name, value) in [
        ("type", serde_json::Value::from("about:blank")),
        ("title", status.canonical_reason().unwrap_or("Error").into()),
        ("status", problem.status.into()),
        ("code", problem.code.into()),
        ("detail", problem.detail.into()),
        ("errors", serde_json::json!(problem.errors)),
        ("request_id", request_id.into()),
    ] {
        body.insert(name.to_owned(), value);
    }
    response.body(serde_json::Value::Object(body).to_string())
}

/// What of a text may stand in a header.
fn header_text(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).take(REASON_BYTES_MAX).collect()
}
