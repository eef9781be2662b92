//! Which services run in this process, and where the others are.

use std::collections::BTreeMap;

use contracts::{Peer, Peers};
use eventlog::Stores;

use super::folder::DataFolder;
use super::settings::Settings;

/// Every service by name.
pub const SERVICES: [&str; 6] = ["workspaces", "runs", "sweeps", "models", "compute", "gateway"];

/// Where this process stands in the installation.
pub struct Place {
    /// The services that run here.
    pub services: Vec<String>,
    /// A TCP address for gRPC.
    pub grpc_listen: Option<String>,
    /// Addresses of the services that run elsewhere.
    pub peers: BTreeMap<String, String>,
    /// The installation's shared secret.
    pub peer_token: Option<String>,
    /// The installation's signing key, when it is not the data folder's own.
    pub signing_key: Option<[u8; 32]>,
}

/// What to run.
pub struct Plan {
    /// The data folder.
    pub folder: DataFolder,
    /// Configuration and flags.
    pub settings: Settings,
    /// Where the services keep their logs.
    pub stores: Stores,
    /// Where this process stands.
    pub place: Place,
    /// Whether a new admin token is printed.
    pub shows_token: bool,
}

impl Plan {
    /// Every service in this process.
    pub fn everything(folder: DataFolder, settings: Settings, stores: Stores) -> Self {
        let services = SERVICES.map(str::to_owned).to_vec();
        let place = Place { services, grpc_listen: None, peers: BTreeMap::new(), peer_token: None, signing_key: None };
        Self { folder, settings, stores, place, shows_token: true }
    }

    /// Whether other processes reach the same logs.
    pub(super) fn is_shared(&self) -> bool {
        !self.settings.store.url.is_empty()
    }

    /// Whether a service runs in this process.
    pub(super) fn runs_here(&self, service: &str) -> bool {
        self.place.services.iter().any(|here| here == service)
    }

    /// Where agents find a service.
    pub(super) fn address(&self, service: &str) -> String {
        match self.place.peers.get(service) {
            Some(address) if !self.runs_here(service) => address.clone(),
            _ => format!("unix:{}", self.folder.socket().display()),
        }
    }

    /// Peers of the services that run elsewhere are connected; the others wait for the servers here.
    pub(super) fn peers(&self) -> anyhow::Result<Peers> {
        let peer = |service: &str| match self.place.peers.get(service) {
            Some(address) if !self.runs_here(service) => match &self.place.peer_token {
                Some(token) if address.starts_with("http") => Peer::remote_with_token(address, token),
                _ => Peer::remote(address),
            }
            .map_err(|error| anyhow::anyhow!("--peer {service}: {error}")),
            _ if self.runs_here(service) => Ok(Peer::deferred()),
            _ => anyhow::bail!("service {service} runs neither here nor is there a --peer {service}=ADDRESS"),
        };
        Ok(Peers {
            workspaces: peer("workspaces")?,
            runs: peer("runs")?,
            sweeps: peer("sweeps")?,
            models: peer("models")?,
            compute: peer("compute")?,
        })
    }
}
