//! The logs of all services, as this build has them, for whoever looks after them without serving them.

use std::path::Path;
use std::sync::Arc;

use eventlog::{Error, Options, Stores};
use runtime::{MachineEntropy, SteadyClock};
use vocabulary::{Clock, Entropy};

/// How each service opens its log.
pub fn options(root: &Path, stores: &Stores) -> [Options; 5] {
    let clock: Arc<dyn Clock> = Arc::new(SteadyClock::continued(&root.join("run/clock")));
    let entropy: Arc<dyn Entropy> = Arc::new(MachineEntropy::default());
    [
        workspaces::log_options(stores, Arc::clone(&clock), Arc::clone(&entropy)),
        runs::log_options(stores, Arc::clone(&clock), Arc::clone(&entropy)),
        sweeps::log_options(stores, Arc::clone(&clock), Arc::clone(&entropy)),
        models::log_options(stores, Arc::clone(&clock), Arc::clone(&entropy)),
        compute::log_options(stores, clock, entropy),
    ]
}

/// Logs that a newer build has migrated, in words. What else is wrong with one is said of the databases.
pub async fn newer(root: &Path, stores: &Stores) -> Vec<String> {
    let mut found = Vec::new();
    for options in options(root, stores) {
        if options.store.is_there().await.unwrap_or(false)
            && let Err(error @ (Error::Newer { .. } | Error::MigrationEdited { .. })) =
                options.store.lacking(options.migrations).await
        {
            found.push(format!("{}: {error}", options.service));
        }
    }
    found
}
