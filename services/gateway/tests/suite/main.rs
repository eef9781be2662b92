//! The door as a client sees it, in front of services that only remember what they were asked.

mod access;
mod fake;
mod requests;
mod routes;
mod streams;
