//! Objects: bytes under the name of their SHA-256.

use actix_web::body::SizedStream;
use actix_web::http::header::{ACCEPT_RANGES, CONTENT_RANGE, ETAG, RANGE};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Payload;
use actix_web::{HttpResponse, put, route};
use contracts::runs::{HeadObjectRequest, ObjectFacts};
use vocabulary::Problem;

use crate::door::{Call, Refusal, Reply, Service, written};
use crate::stream;

super::routes!(put_object, get_object);

/// Stores an object under the SHA-256 of its content. A second time it changes nothing.
#[utoipa::path(tag = "objects", request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = ObjectFacts)))]
#[put("/api/v1/workspaces/{workspace}/objects/sha256:{hash}")]
pub(crate) async fn put_object(call: Call, body: Payload) -> Reply {
    let sha256 = hash_of(&call)?;
    let reply = stream::store(&call, call.reading(Service::Runs)?, &sha256, body).await?;
    written(StatusCode::CREATED, Service::Runs, reply)
}

/// Reads an object, or a part of it with `Range`. HEAD says whether it is there, and its size.
#[utoipa::path(tag = "objects", responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
    (status = 206, body = Vec<u8>, content_type = "application/octet-stream")))]
#[route("/api/v1/workspaces/{workspace}/objects/sha256:{hash}", method = "GET", method = "HEAD")]
pub(crate) async fn get_object(call: Call) -> Reply {
    let sha256 = hash_of(&call)?;
    let context = call.reading(Service::Runs)?;
    let request = HeadObjectRequest { sha256: sha256.clone(), workspace: call.workspace.clone() };
    let facts = call.peers().runs_client().head_object(context.attach(request)).await?.into_inner();
    send(&call, &sha256, facts.size_bytes, "").await
}

fn hash_of(call: &Call) -> Result<String, Problem> {
    let text = call.path("hash");
    let good = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if good {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Problem::new(422, "BadHash", format!("sha256:{text}: send 64 hexadecimal digits")))
}

/// Sends an object's content, or what Range asks of it. `name` only says what kind of content it is.
pub(crate) async fn send(call: &Call, sha256: &str, size: u64, name: &str) -> Reply {
    let range =
        call.request.headers().get(RANGE).and_then(|value| value.to_str().ok()).and_then(|text| part(text, size));
    // All of it is asked for as such: then it is checked on the way.
    let (status, offset, length, asked) = match range {
        None => (StatusCode::OK, 0, size, 0),
        Some(Ok((first, last))) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1, last - first + 1),
        Some(Err(())) => {
            let problem = Problem::new(416, "RangeNotSatisfiable", format!("the content has {size} bytes"));
            return Err(Refusal(problem.with("size_bytes", size)));
        }
    };
    let mut response = HttpResponse::build(status);
    response.insert_header((ACCEPT_RANGES, "bytes")).insert_header((ETAG, format!("\"{sha256}\"")));
    // The content is a user's: a browser must not run it with this server's rights.
    response.insert_header(("x-content-type-options", "nosniff")).insert_header(("content-security-policy", "sandbox"));
    response.content_type(content_type(name));
    if status == StatusCode::PARTIAL_CONTENT {
        response.insert_header((CONTENT_RANGE, format!("bytes {offset}-{}/{size}", offset + length - 1)));
    }
    if length == 0 || *call.request.method() == Method::HEAD {
        return Ok(
            response.body(SizedStream::new(length, futures_util::stream::empty::<Result<_, actix_web::Error>>()))
        );
    }
    Ok(response.body(SizedStream::new(length, Box::pin(stream::content(call, sha256, offset, asked).await?))))
}

/// First and last byte of a single range; `None` for what is to be ignored, an error for what lies outside.
fn part(header: &str, size: u64) -> Option<Result<(u64, u64), ()>> {
    let (first, last) = header.trim().strip_prefix("bytes=")?.split_once('-')?;
    let last_byte = size.checked_sub(1);
    let (first, last) = match (first.trim(), last.trim()) {
        ("", suffix) => {
            let suffix = suffix.parse::<u64>().ok()?;
            if suffix == 0 {
                return Some(Err(()));
            }
            (size.saturating_sub(suffix), u64::MAX)
        }
        (first, "") => (first.parse().ok()?, u64::MAX),
        (first, last) => (first.parse().ok()?, last.parse().ok()?),
    };
    if first > last {
        return None;
    }
    match last_byte {
        Some(end) if first <= end => Some(Ok((first, last.min(end)))),
        _ => Some(Err(())),
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('/').next().and_then(|file| file.rsplit_once('.')).map(|(_, extension)| extension) {
        Some("json" | "ipynb") => "application/json",
        Some("txt" | "log" | "py" | "md" | "yaml" | "yml" | "toml" | "sh") => "text/plain; charset=utf-8",
        Some("csv") => "text/csv; charset=utf-8",
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("svg") => "image/svg+xml",
        Some("pdf") => "application/pdf",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        for (header, expected) in [
            ("bytes=0-3", Some(Ok((0, 3)))),
            ("bytes=4-", Some(Ok((4, 9)))),
            ("bytes=-3", Some(Ok((7, 9)))),
            ("bytes=-30", Some(Ok((0, 9)))),
            ("bytes=8-99", Some(Ok((8, 9)))),
            ("bytes=10-", Some(Err(()))),
            ("bytes=-0", Some(Err(()))),
            ("bytes=3-1", None),
            ("bytes=0-1,4-5", None),
            ("lines=0-1", None),
        ] {
            assert_eq!(part(header, 10), expected, "{header}");
        }
        assert_eq!(part("bytes=0-", 0), Some(Err(())));
    }
}
