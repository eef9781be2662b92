//! The agent of a node and the shim of a job: what turns a placed job into running processes and says truly how they
//! ended.
//!
//! One agent runs per node and dials compute; each attempt of a job runs below a shim of its own. The agent may die and
//! come back at any time: shims go on without it, everything it knows is in the attempt's folder, and the next agent
//! adopts what it finds. It decides nothing about placement, retries or states of runs: compute and runs do.
//!
//! ```text
//! accepted (job.json) -> folders, code, inputs (plan.json) -> shim (shim.pid) -> [prepare] -> command (state.json)
//!   -> exit.json -> last metrics, logs and outputs acknowledged by runs -> ended.json -> acknowledged by compute
//! ```
//!
//! Invariant: the end of an attempt is reported only after runs has acknowledged everything that the attempt said.
//! Invariant: an attempt's command is started at most once, whatever dies meanwhile.

mod agent;
mod attempt;
mod connection;
mod down;
mod errors;
mod folder;
mod keep;
mod link;
mod node;
mod orders;
mod process;
mod record;
mod shim;
mod shims;
mod trouble;
mod uplink;
mod watch;

pub use agent::agent_main;
pub use down::{Down, take_down};
pub use node::AgentOptions;
pub use process::kill_node;
pub use shim::{shim_main, shim_server_main};
