//! What people and their editors read: the reference of the documents, their schemas, the page about scripts.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, get, web};
use documents::reference::{DOCUMENTS, page, schema, schema_id};
use vocabulary::Problem;

use crate::Gateway;
use crate::door::{Refusal, Reply, json, parameters};

super::routes!(document_schema, docs_page, reference_page, script_page);

/// The schema of a document, for editors: `# yaml-language-server: $schema=URL` in its first line.
#[utoipa::path(tag = "process", responses((status = 200, body = serde_json::Value)))]
#[get("/schemas/{document:[^/.]+}.json")]
pub(crate) async fn document_schema(gateway: web::Data<Gateway>, request: HttpRequest) -> Reply {
    let parameters = parameters(&request)?;
    let document = parameters.get("document").map(String::as_str).unwrap_or_default();
    let Some(mut schema) = schema(document) else {
        let names: Vec<&str> = DOCUMENTS.iter().map(|(name, _)| *name).collect();
        let detail = format!("schema {document:?}: there are {}", names.join(", "));
        return Err(Refusal(Problem::new(404, "NotFound", detail)));
    };
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["$id"] = format!("{}{}", gateway.public_url(), schema_id(document)).into();
    schema["title"] = format!("Trialog: {document}").into();
    json(StatusCode::OK, &schema)
}

fn html(text: String) -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(text)
}

/// Leads to all pages.
#[utoipa::path(tag = "process", responses((status = 200, body = String, content_type = "text/html")))]
#[get("/docs")]
pub(crate) async fn docs_page() -> HttpResponse {
    html(include_str!("docs.html").to_owned())
}

/// Every field of every document.
#[utoipa::path(tag = "process", responses((status = 200, body = String, content_type = "text/html")))]
#[get("/docs/reference")]
pub(crate) async fn reference_page() -> HttpResponse {
    html(page())
}

/// What a script that is tuned is given and may do.
#[utoipa::path(tag = "process", responses((status = 200, body = String, content_type = "text/markdown")))]
#[get("/docs/your-script")]
pub(crate) async fn script_page() -> HttpResponse {
    let text = include_str!("../../../../docs/your-script.md");
    HttpResponse::Ok().content_type("text/markdown; charset=utf-8").body(text)
}
