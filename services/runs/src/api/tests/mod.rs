//! The calls on a real log in a temporary folder.
