//! Answers: JSON bodies, entity tags, positions.

use actix_web::http::StatusCode;
use actix_web::http::header::ETAG;
use actix_web::{HttpResponse, HttpResponseBuilder};
use contracts::{compute, models, runs, sweeps, workspaces};
use serde::Serialize;
use vocabulary::Problem;

use super::{Reply, Service, Waiting};

/// Messages with a version, for `ETag` and If-Match.
pub trait Versioned {
    /// The version of the stream that the message shows.
    fn version(&self) -> i64;
}

macro_rules! versioned {
    ($($message:ty: $field:ident),+ $(,)?) => {
        $(impl Versioned for $message {
            fn version(&self) -> i64 {
                self.$field
            }
        })+
    };
}
versioned! {
    compute::Cluster: version, compute::Endpoint: version, compute::Deployment: version, models::Model: etag_version,
    runs::Run: version, sweeps::Sweep: version, sweeps::SubmitSweepReply: version, workspaces::Workspace: version,
}

/// A body as JSON.
///
/// # Errors
/// 500 when it is none, which a service's answer always is.
pub fn json(status: StatusCode, body: &impl Serialize) -> Reply {
    finish(HttpResponse::build(status), body)
}

/// The answer to a read of something that has a version; 304 when the caller has that version already.
///
/// # Errors
/// See [`json`].
pub fn found<M: Serialize + Versioned>(response: tonic::Response<M>, waiting: Waiting) -> Reply {
    let message = response.into_inner();
    if waiting.none_match == Some(message.version()) {
        return Ok(HttpResponse::NotModified().insert_header((ETAG, tag(&message))).finish());
    }
    let mut builder = HttpResponse::Ok();
    builder.insert_header((ETAG, tag(&message)));
    finish(builder, &message)
}

/// The answer to a write at `service`, with the position that it was committed at.
///
/// # Errors
/// See [`json`].
pub fn written<M: Serialize>(status: StatusCode, service: Service, response: tonic::Response<M>) -> Reply {
    finish(positioned(status, service, &response), response.get_ref())
}

/// The same for something that has a version.
///
/// # Errors
/// See [`json`].
pub fn changed<M: Serialize + Versioned>(status: StatusCode, service: Service, response: tonic::Response<M>) -> Reply {
    let mut builder = positioned(status, service, &response);
    builder.insert_header((ETAG, tag(response.get_ref())));
    finish(builder, response.get_ref())
}

/// The status of an answer to a PUT: 201 when the thing was not there before.
pub fn put<M>(response: &tonic::Response<M>) -> StatusCode {
    if contracts::is_made(response) { StatusCode::CREATED } else { StatusCode::OK }
}

/// The answer to a DELETE: 202 while the thing is still going.
///
/// # Errors
/// See [`json`].
pub fn removed<M: Serialize + Versioned>(state: &str, service: Service, response: tonic::Response<M>) -> Reply {
    let status = if state == "Deleting" { StatusCode::ACCEPTED } else { StatusCode::OK };
    changed(status, service, response)
}

fn positioned<M>(status: StatusCode, service: Service, response: &tonic::Response<M>) -> HttpResponseBuilder {
    let mut builder = HttpResponse::build(status);
    if let Some(position) = contracts::position_of(response) {
        builder.insert_header(("trialog-position", format!("{}={position}", service.name())));
    }
    builder
}

fn tag(message: &impl Versioned) -> String {
    format!("\"v{}\"", message.version())
}

fn finish(mut builder: HttpResponseBuilder, body: &impl Serialize) -> Reply {
    let text = serde_json::to_vec(body)
        .map_err(|error| Problem::internal(format!("the answer cannot be written: {error}")))?;
    Ok(builder.content_type("application/json").body(text))
}
