//! What is open without a token: whether the process lives and is ready, what it is, its counters and documents.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, get, web};
use contracts::health::CheckRequest;
use contracts::health::health_service_client::HealthServiceClient;
use serde::Serialize;
use utoipa::ToSchema;

use crate::door::{Reply, Service, json};
use crate::{Gateway, Version, openapi};

super::routes!(health, readyz, version, metrics, openapi_document, problems_page);

/// How long a service may take to show that it is there.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether requests can be answered.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// Everything is there.
    pub ready: bool,
    /// What is not there or not well: `tokens` (still being read), a service that does not answer (`runs`), or a part
    /// of one that has ended, has halted, keeps failing or has no room (`runs.writer`, `runs.follow_trials`,
    /// `runs.disk`); the log says why.
    pub waiting: Vec<String>,
}

/// Answers `OK` while the process lives.
#[utoipa::path(tag = "process", responses((status = 200, body = String, content_type = "text/plain")))]
#[get("/health")]
pub(crate) async fn health() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("OK")
}

/// Says whether all services, their writers and followers, and the tokens are there and well; 503 while something is
/// not.
#[utoipa::path(tag = "process", responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
#[get("/readyz")]
pub(crate) async fn readyz(gateway: web::Data<Gateway>) -> Reply {
    let mut waiting = Vec::new();
    if !gateway.directory().is_ready() {
        waiting.push("tokens".to_owned());
    }
    let probes = Service::ALL.map(|service| probe(&gateway, service));
    waiting.extend(futures_util::future::join_all(probes).await.into_iter().flatten());
    waiting.extend(gateway.health().unwell("gateway").into_iter().map(|unwell| format!("gateway.{}", unwell.part)));
    let ready = waiting.is_empty();
    json(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &Readiness { ready, waiting })
}

/// What of a service is not ready: itself when it does not answer, else its parts.
async fn probe(gateway: &Gateway, service: Service) -> Vec<String> {
    let name = service.name();
    let Some(peer) = gateway.peers().by_name(name) else { return vec![name.to_owned()] };
    let mut client = HealthServiceClient::new(peer.clone());
    let check = client.check(CheckRequest { service: name.to_owned() });
    match tokio::time::timeout(PROBE_TIMEOUT, check).await {
        Ok(Ok(reply)) => reply.into_inner().unready.iter().map(|unready| format!("{name}.{}", unready.part)).collect(),
        Ok(Err(_)) | Err(_) => vec![name.to_owned()],
    }
}

/// The release of this server.
#[utoipa::path(tag = "process", responses((status = 200, body = Version)))]
#[get("/version")]
pub(crate) async fn version(gateway: web::Data<Gateway>) -> Reply {
    json(StatusCode::OK, &gateway.version())
}

/// Counters, gauges and histograms in the text format of Prometheus. Endpoints are named for an admin's token only.
#[utoipa::path(tag = "process", responses((status = 200, body = String, content_type = "text/plain")))]
#[get("/metrics")]
pub(crate) async fn metrics(gateway: web::Data<Gateway>, request: HttpRequest) -> HttpResponse {
    let page = gateway.metrics(&request).await;
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(page)
}

/// This document.
#[utoipa::path(tag = "process", responses((status = 200, body = serde_json::Value)))]
#[get("/openapi.json")]
pub(crate) async fn openapi_document() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(openapi::text())
}

/// What the `type` of a problem leads to.
#[utoipa::path(tag = "process", responses((status = 200, body = String, content_type = "text/html")))]
#[get("/docs/problems")]
pub(crate) async fn problems_page() -> HttpResponse {
    let page = include_str!("problems.html").replace("<!-- codes -->", &codes(CODES));
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(page)
}

/// The table of codes.
const CODES: &str = include_str!("../../../../docs/errors.md");

/// The rows of the committed table of codes, each at its own anchor.
fn codes(table: &str) -> String {
    let rows = table.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let row = |line: &str| {
        let cells: Vec<String> = line.trim_matches('|').split(" | ").map(|cell| escaped(cell.trim())).collect();
        let code = cells.first().cloned().unwrap_or_default();
        format!("<tr id=\"{code}\"><td>{}</td></tr>\n", cells.join("</td><td>"))
    };
    rows.map(row).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_type_of_a_problem_leads_to_its_code() {
        let rows = super::codes(super::CODES);
        assert!(rows.contains("<tr id=\"UnknownField\"><td>UnknownField</td><td>400, 422</td><td>"), "{rows}");
        assert_eq!(rows.matches("<tr id=").count(), rows.lines().count());
        assert!(rows.matches("<td>").count() == 3 * rows.lines().count(), "three cells a row");
    }
}
