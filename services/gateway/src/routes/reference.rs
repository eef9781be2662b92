//! What people and their editors read: the reference of the documents, their schemas, the page about scripts.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, get, web};
use documents::reference::{DOCUMENTS, page, schema, schema_id};
use pulldown_cmark::{Event, Options, Parser};
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
#[utoipa::path(tag = "process", responses((status = 200, body = String, content_type = "text/html")))]
#[get("/docs/your-script")]
pub(crate) async fn script_page() -> HttpResponse {
    html(rendered("Your script", include_str!("../../../../docs/your-script.md")))
}

/// What stands before a page that is written as Markdown, but for its title.
const HEAD: &str = "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:50em;margin:3em auto;padding:0 1em}\
    code,pre{background:#f3f3f3}pre{padding:.8em;overflow:auto}code{padding:0 .2em}\
    td,th{text-align:left;vertical-align:top;padding:.3em .8em .3em 0;border-bottom:1px solid #ddd}\
    table{border-collapse:collapse}</style></head>\n<body>\n";

/// A page of Markdown. HTML in it is text: what is written here makes no scripts.
fn rendered(title: &str, markdown: &str) -> String {
    let events = Parser::new_ext(markdown, Options::ENABLE_TABLES).map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        other => other,
    });
    let mut page =
        format!("<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title>\n");
    page.push_str(HEAD);
    pulldown_cmark::html::push_html(&mut page, events);
    page.push_str("</body>\n</html>\n");
    page
}

#[cfg(test)]
mod tests {
    use super::rendered;

    #[test]
    fn a_page_of_markdown_is_read_in_a_browser() {
        // Its source was shown, with a bar for each column of a table.
        let page = rendered("Your script", include_str!("../../../../docs/your-script.md"));
        for part in ["<title>Your script</title>", "<h2>Exit codes</h2>", "<td>TRIALOG_ATTEMPT</td>", "<pre><code"] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("\n## ") && !page.contains("|---|"), "{page}");
        let raw = rendered("t", "<script>alert(1)</script>\n\na <b>bold</b> & `x<y`");
        assert!(raw.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && raw.contains("a &lt;b&gt;bold"), "{raw}");
        assert!(raw.contains("<code>x&lt;y</code>"), "{raw}");
    }
}
