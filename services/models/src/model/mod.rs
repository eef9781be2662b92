//! The aggregate: a registered model with all its versions and aliases.

mod decide;
mod events;
mod state;

pub use decide::{Change, Command, Rejection};
pub use events::{AliasChanged, File, ModelChanged, ModelEvent, VersionChanged, VersionRegistered};
pub use state::{Model, Version};
