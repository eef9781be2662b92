//! Calls on a service of its own.
