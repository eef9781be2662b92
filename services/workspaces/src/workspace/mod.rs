//! The aggregate: a workspace with its tokens. The stream `installation` holds the tokens that belong to no workspace.

mod decide;
mod events;
mod state;

pub use decide::{Command, Rejection};
pub use events::{TokenCreated, TokenRevoked, WorkspaceCreated, WorkspaceDeleted, WorkspaceEvent};
pub use state::{Token, Workspace};

/// What the stream of a workspace begins with; its name follows.
pub const STREAM: &str = "workspace-";

/// The stream of tokens that are good for the whole installation.
pub const INSTALLATION: &str = "installation";
