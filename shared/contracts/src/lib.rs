//! The contracts between services: Rust generated from `proto/`, one peer type for in-process and remote calls, the
//! context that travels with a call, the way a `Problem` travels in a status, and what measures are made of. Nothing
//! else is written by hand here.

pub mod about;
pub mod context;
pub mod job;
pub mod json_text;
pub mod measure;
pub mod peer;
mod replicas;
pub mod status;

pub use context::{
    AttemptBearer, CallContext, NodeBearer, act_as_agent, is_made, position_of, with_made, with_position,
};
pub use peer::{Peer, Peers};
pub use replicas::AWAY;
pub use status::{bounded, problem_of, status_of};

/// What `proto/` generates, at the paths that the packages have.
#[expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    reason = "generated from proto/, which has the documentation"
)]
mod generated {
    macro_rules! packages {
        ($($name:ident: $package:literal),+) => {
            $(pub mod $name { pub mod v1 { tonic::include_proto!($package); } })+
        };
    }
    packages!(
        problem: "trialog.problem.v1",
        feed: "trialog.feed.v1",
        health: "trialog.health.v1",
        workspaces: "trialog.workspaces.v1",
        runs: "trialog.runs.v1",
        sweeps: "trialog.sweeps.v1",
        models: "trialog.models.v1",
        compute: "trialog.compute.v1"
    );
}

include!(concat!(env!("OUT_DIR"), "/calls.rs"));

/// The paths of the calls that change nothing, which a process may answer that does not write:
/// `/PACKAGE.SERVICE/CALL`.
pub const READS: &[&str] = include!(concat!(env!("OUT_DIR"), "/reads.rs"));

pub use generated::compute::v1 as compute;
pub use generated::feed::v1 as feed;
pub use generated::health::v1 as health;
pub use generated::models::v1 as models;
pub use generated::problem::v1 as problem;
pub use generated::runs::v1 as runs;
pub use generated::sweeps::v1 as sweeps;
pub use generated::workspaces::v1 as workspaces;
