//! The state in its written form, so that a sweep with a long history is not folded anew when it is looked at.
//!
//! MessagePack with the names of fields: numbers keep their bits. The names protect from little: a field that is gone
//! is passed over, and an optional one that is new reads as absent. So whoever changes the form, or what events make of
//! the state, raises the number here and commits the snapshot of the new one beside the old ones: a test holds the bytes
//! of each number fast, and says when that was forgotten.

use super::state::Sweep;

/// Of the form that this build writes and reads.
pub(super) const SCHEMA: i16 = 2;

/// The written form; `None` when the state cannot be written.
pub(super) fn write(sweep: &Sweep) -> Option<Vec<u8>> {
    rmp_serde::to_vec_named(sweep).ok()
}

/// The state; `None` when the bytes are of another form.
pub(super) fn read(bytes: &[u8]) -> Option<Sweep> {
    rmp_serde::from_slice(bytes).ok()
}
