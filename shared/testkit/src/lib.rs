//! What whole-process tests and load tests are made of: servers that can be killed and started again, a client of the
//! REST interface that outlives them, and a look at every process that a data folder has left on the machine.
//!
//! Only for tests: whatever does not go as it must panics with what was seen. Nothing outlives its [`Home`]: when that
//! is dropped, after a panic too, every process that names the folder is killed and the folder is removed.

mod client;
mod cluster;
mod command_line;
mod database;
mod events;
mod exposition;
mod external;
mod fixture;
pub mod history;
mod home;
pub mod invariants;
mod kafka;
mod output;
mod patience;
mod places;
mod postgres;
mod processes;
mod properties;
mod proxy;
mod python;
mod random;
mod required;
mod s3;
mod scaled;
mod server;
mod stored;
mod systemd;
mod watchdog;

pub use client::{Answer, Client, Request, Sent, http};
pub use cluster::put_cluster;
pub use command_line::CommandLine;
pub use database::Database;
pub use events::{Event, Events};
pub use exposition::{Exposition, promtool};
pub use external::{ask_and_tell, asked_parameters, external_sweep};
pub use fixture::{Fixture, Recorded};
pub use home::{Home, open_to_others};
pub use kafka::{Broker, kafka};
pub use output::{SAY, check_everything_written};
pub use patience::{await_that, await_that_async};
pub use places::{Layout, Places, free_port};
pub use postgres::{new_schema, postgres, stores};
pub use processes::{Kind, Process, freeze, kill_and_await, processes_of};
pub use properties::properties;
pub use proxy::{Link, Proxy};
pub use python::python_with;
pub use random::Random;
pub use s3::{S3Server, objects_in_s3, s3};
pub use scaled::Scaled;
pub use server::{Options, Server, binary};
pub use stored::StoredForms;
pub use systemd::systemd_verify;
pub use watchdog::Watchdog;
