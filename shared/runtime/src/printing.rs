//! What a process says to whoever started it. What cannot be written (a full disk, a terminal that is gone) is lost and
//! breaks nothing: `println!` would panic, and a server would end for a line.

use std::io::Write;

/// Prints a line to the standard output.
pub fn print_line(text: impl std::fmt::Display) {
    let _ = std::io::stdout().lock().write_all(format!("{text}\n").as_bytes());
}

/// Prints a line to the standard error.
pub fn print_error(text: impl std::fmt::Display) {
    let _ = std::io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}
