//! The front door: REST below `/api/v1`, tokens, limits, problems, the OpenAPI document and its pages.
//!
//! A handler parses, calls the service that owns the thing, and answers; it decides nothing. What it looks up at other
//! services (the cluster of a sweep, the files of a model) goes along with the call, one call after another, never
//! nested. State of its own: the projection of tokens and workspaces, kept in memory and read anew at each start.

pub mod access;
pub mod door;
mod gateway;
mod measures;
mod openapi;
mod points;
mod routes;
mod serve;
mod stream;
mod telemetry;

pub use access::{Principal, RunToken, Scope, UserToken};
pub use gateway::{Dependencies, Gateway, Version};
pub use openapi::openapi;
pub use serve::{configure, serve};
pub use telemetry::prometheus;
