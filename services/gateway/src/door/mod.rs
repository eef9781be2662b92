//! What every route shares: who calls and with which command id, bodies, answers, problems, request ids.

mod answer;
mod body;
mod call;
mod near;
mod not_found;
mod observe;
mod pace;
mod query;
mod refusal;
mod request_id;
mod service;
pub(crate) mod shape;
mod template;
mod wait;

pub use answer::{Versioned, changed, found, json, put, removed, written};
pub use body::{Body, Document, ImportBody, MetricsBody, RawBody, taken};
pub use call::{Call, parameters};
pub use not_found::route_not_found;
pub use observe::observe;
pub use pace::Pace;
pub use query::Query;
pub use refusal::{Refusal, Reply, render};
pub use request_id::RequestId;
pub use service::{Seen, Service, parse_positions};
pub use template::template_of;
pub use wait::{WaitQuery, Waiting, parse_wait};
