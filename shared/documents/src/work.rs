//! How much was done: values read, keys compared, bytes of errors written, on this thread. Tests hold it against the
//! size of a document, for a count does not depend on the machine as a time does.

use std::cell::Cell;

thread_local! {
    static DONE: Cell<u64> = const { Cell::new(0) };
}

/// Adds to the count.
pub(crate) fn add(steps: usize) {
    DONE.with(|done| done.set(done.get().wrapping_add(steps as u64)));
}

/// The steps of `read` on this thread.
pub fn of<T>(read: impl FnOnce() -> T) -> (u64, T) {
    let before = DONE.with(Cell::get);
    let answer = read();
    (DONE.with(Cell::get).wrapping_sub(before), answer)
}
