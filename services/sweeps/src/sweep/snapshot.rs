//! The state in its written form, so that a sweep with a long history is not folded anew when it is looked at.
//!
//! MessagePack with the names of fields: numbers keep their bits. The names protect from little: a field that is gone
//! is passed over, and an optional one that is new reads as absent. So the form has a number, which stands beside the
//! state.

use super::state::Sweep;

/// The written form; `None` when the state cannot be written.
pub(super) fn write(sweep: &Sweep) -> Option<Vec<u8>> {
    rmp_serde::to_vec_named(sweep).ok()
}

/// The state; `None` when the bytes are of another form.
pub(super) fn read(bytes: &[u8]) -> Option<Sweep> {
    rmp_serde::from_slice(bytes).ok()
}
