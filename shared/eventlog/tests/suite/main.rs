//! The suite of the event log: behaviour, random histories against a model, and crashes.

mod account;
mod behaviour;
mod crash;
mod faults;
mod history;
mod model;
