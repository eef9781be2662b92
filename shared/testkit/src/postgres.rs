//! The PostgreSQL server of tests that need one: `TRIALOG_TEST_POSTGRES`, which `make test` starts.

use runtime::MachineEntropy;
use vocabulary::Entropy;

use crate::required::missing;

/// Where the logs of a test's services are: a folder's SQLite files, or, when `TRIALOG_TEST_STORE` is `postgres`,
/// schemas of that server, which are the folder's own.
///
/// # Panics
/// When the server is wished for and not there.
pub fn stores(folder: &std::path::Path) -> eventlog::Stores {
    #[cfg(feature = "postgres")]
    if std::env::var_os("TRIALOG_TEST_STORE").is_some_and(|store| store == "postgres") {
        let url = postgres().expect("TRIALOG_TEST_STORE is postgres, so that TRIALOG_TEST_POSTGRES names a server");
        // Temporary folders have names of their own.
        let mut hasher = std::hash::DefaultHasher::new();
        std::hash::Hash::hash(folder, &mut hasher);
        let prefix = format!("f{:016x}", std::hash::Hasher::finish(&hasher));
        return eventlog::Stores::in_postgres(&url, &prefix).expect("a plain name");
    }
    eventlog::Stores::in_folder(folder)
}

/// Its URL; `None` where there is none and it is not required.
///
/// # Panics
/// When there is none and `TRIALOG_REQUIRE` names `postgres`.
pub fn postgres() -> Option<String> {
    let found = std::env::var("TRIALOG_TEST_POSTGRES").ok().filter(|url| !url.is_empty());
    if found.is_none() {
        missing(
            "postgres",
            "TRIALOG_TEST_POSTGRES names no server: make test starts one where it is installed (apt-get install \
             postgresql)",
        );
    }
    found
}

/// The name of a schema that is nobody's yet: a server is used by several runs, one after the other or at once.
pub fn new_schema() -> String {
    format!("t{}", MachineEntropy::default().uuid().simple())
}
