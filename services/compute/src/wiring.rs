//! What nodes need to know of the installation.

use std::path::PathBuf;
use std::time::Duration;

/// How nodes are started and whom they speak to.
#[derive(Clone)]
pub struct NodeWiring {
    /// The program whose `agent` command is a node.
    pub executable: PathBuf,
    /// Where agents find compute: `unix:PATH` or `http://HOST:PORT`.
    pub compute_address: String,
    /// Where agents find runs.
    pub runs_address: String,
    /// Who signed the certificate of runs, as PEM; empty where it is reached without TLS.
    pub runs_ca: String,
    /// TRIALOG_API_URL of jobs.
    pub api_url: String,
    /// TRIALOG_CA_FILE of jobs; empty where every machine knows who signed the certificate of `api_url`.
    pub ca_file: String,
    /// How long agents stay when the server does not come back, once nothing runs on their nodes.
    pub agents_away: Duration,
    /// Seals the tokens of runs and nodes.
    pub signing_key: [u8; 32],
}
