//! What tests need beside this repository, such as a database: `TRIALOG_REQUIRE` is a list of what must be there.

/// Something is not there, so that a test is skipped, which is said on the standard error.
///
/// # Panics
/// When it is required: then nothing may be skipped.
pub(crate) fn missing(what: &str, why: &str) {
    let required = std::env::var("TRIALOG_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|name| name == what), "{why}");
    eprintln!("skipped: {why}");
}
