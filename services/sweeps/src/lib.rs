//! Placeholder.
pub mod document;
