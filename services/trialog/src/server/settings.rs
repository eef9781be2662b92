//! The configuration of a server process; flags win over it.

use serde::{Deserialize, Serialize};

/// Keys of `--config`; each can be set by `TRIALOG_SERVER__SECTION__KEY`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The front door.
    pub http: Http,
    /// Sweeps.
    pub sweeps: Sweeps,
    /// The disk of the data folder.
    pub disk: Disk,
    /// Nodes.
    pub compute: Compute,
}

/// The front door.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Where REST listens; loopback by default, since the first start has one token only.
    pub listen: String,
    /// Worker threads of the front door; parsing is short, two keep both cores of a small machine busy.
    pub workers: usize,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8080".to_owned(), workers: 2 }
    }
}

/// Limits of sweeps on this server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sweeps {
    /// The most trials that a sweep may ask for; at most 1,000,000.
    pub max_trials: u32,
    /// The most trials that a sweep may have at the same time.
    pub max_concurrent_trials: u32,
}

impl Default for Sweeps {
    fn default() -> Self {
        Self { max_trials: 1000, max_concurrent_trials: 100 }
    }
}

/// The disk of the data folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Disk {
    /// With fewer free bytes the process is not ready: 128 MiB are the databases' write-ahead logs, 16 MiB each, and
    /// some seconds in which somebody frees more.
    pub free_bytes_min: u64,
}

impl Default for Disk {
    fn default() -> Self {
        Self { free_bytes_min: 128 << 20 }
    }
}

/// Nodes of this server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compute {
    /// Seconds that the agents of nodes wait for a server that does not come back, once nothing runs on their nodes:
    /// long enough for an upgrade, short enough that nothing stays of a server that was given up.
    pub agents_away_seconds: f64,
}

impl Default for Compute {
    fn default() -> Self {
        Self { agents_away_seconds: 600.0 }
    }
}

/// The settings in force before flags.
///
/// # Errors
/// When the file cannot be read or a key is unknown.
pub fn load(file: Option<&std::path::Path>) -> anyhow::Result<Settings> {
    Ok(runtime::config::load(file, std::env::vars())?)
}
