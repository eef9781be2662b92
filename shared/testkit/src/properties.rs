//! How every property test of the workspace runs: from one committed seed, so that a test run never fails by luck, and
//! with failures that fit a screen.
//!
//! ```ignore
//! proptest! {
//!     #![proptest_config(testkit::properties(200))]
//!     #[test]
//!     fn it_holds(x in 0..9) { … }
//! }
//! ```
//!
//! `TRIALOG_PROPERTY_SEED=n` runs them from another seed; `make torture` draws a fresh one and prints it.

use std::panic::PanicHookInfo;
use std::sync::Once;

use proptest::test_runner::{Config, RngSeed};

/// What everybody's runs begin with. Another value is another set of examples, no better and no worse.
const SEED: u64 = 629_652;
/// Names another seed.
const SEED_VARIABLE: &str = "TRIALOG_PROPERTY_SEED";
/// Asks for failures as they are.
const WHOLE_VARIABLE: &str = "TRIALOG_PROPERTY_WHOLE";
/// Lines of a failure's message; with what the harness prints round it a failure stays within 50.
const LINES_MAX: usize = 28;
/// Characters of each of its lines: a list is printed as one line.
const LINE_CHARACTERS_MAX: usize = 400;

/// The configuration of a property test with so many cases.
///
/// # Panics
/// When TRIALOG_PROPERTY_SEED is no number.
pub fn properties(cases: u32) -> Config {
    static SHORTENED: Once = Once::new();
    SHORTENED.call_once(shorten_panics);
    // Nothing is persisted: the seed repeats a failure, and a file in the sources would be one more thing to keep.
    Config { cases, rng_seed: RngSeed::Fixed(seed()), failure_persistence: None, ..Config::default() }
}

fn seed() -> u64 {
    match std::env::var(SEED_VARIABLE) {
        Ok(text) if !text.is_empty() => {
            text.parse().unwrap_or_else(|_| panic!("{SEED_VARIABLE}={text} is not an integer in 0..2^64-1"))
        }
        _ => SEED,
    }
}

/// Shortens what panics print from here on: a backtrace is no part of it.
fn shorten_panics() {
    let whole = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic: &PanicHookInfo<'_>| {
        let message = panic.payload_as_str().unwrap_or("no message");
        if std::env::var_os(WHOLE_VARIABLE).is_some() || is_short(message) {
            return whole(panic);
        }
        let thread = std::thread::current();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        eprintln!("thread '{}' panicked at {place}:", thread.name().unwrap_or("unnamed"));
        eprintln!("{}", shortened(message));
        eprintln!("properties: {SEED_VARIABLE}={} repeats it, {WHOLE_VARIABLE}=1 prints it whole", seed());
    }));
}

fn is_short(message: &str) -> bool {
    message.lines().count() <= LINES_MAX && message.lines().all(|line| line.len() <= LINE_CHARACTERS_MAX)
}

/// The first lines, each of them its first characters, and how much was left out.
fn shortened(message: &str) -> String {
    let line = |line: &str| match line.char_indices().nth(LINE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{} … ({} bytes more)", &line[..end], line.len() - end),
        None => line.to_owned(),
    };
    let mut lines: Vec<String> = message.lines().take(LINES_MAX).map(line).collect();
    let left = message.lines().count() - lines.len();
    if left > 0 {
        lines.push(format!("… ({left} lines more)"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted() {
        let text = "x\n".repeat(LINES_MAX + 3) + &"é".repeat(LINE_CHARACTERS_MAX + 1);
        let shortened = shortened(&text);
        assert!(shortened.ends_with("… (4 lines more)"), "{shortened}");
        assert_eq!(super::shortened(&"é".repeat(LINE_CHARACTERS_MAX + 1)).matches('é').count(), LINE_CHARACTERS_MAX);
        assert!(is_short("a few words"));
    }
}
