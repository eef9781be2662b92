//! The PostgreSQL server of tests that need one: `TRIALOG_TEST_POSTGRES`, which `make test` starts.

/// Its URL; `None`, said on the standard error, where there is none and `TRIALOG_REQUIRE` is not set.
///
/// # Panics
/// When there is none and `TRIALOG_REQUIRE` is set: then nothing may be skipped.
pub fn postgres() -> Option<String> {
    let found = std::env::var("TRIALOG_TEST_POSTGRES").ok().filter(|url| !url.is_empty());
    if found.is_none() {
        let missing = "TRIALOG_TEST_POSTGRES names no server: `deploy/postgres-dev/postgres-dev up FOLDER` starts one \
                       (apt-get install postgresql), make test does";
        assert!(std::env::var_os("TRIALOG_REQUIRE").is_none(), "{missing}");
        eprintln!("skipped: {missing}");
    }
    found
}
