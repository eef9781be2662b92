//! The door as a client sees it, in front of services that only remember what they were asked.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

mod access;
mod fake;
mod feed;
mod requests;
mod routes;
mod streams;
