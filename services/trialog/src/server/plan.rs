//! Which services run in this process, and where the others are.

use std::collections::BTreeMap;

use anyhow::Context;
use contracts::peer::{Credentials, Tls};
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
    /// With which its processes speak TLS.
    pub peer_tls: Option<Tls>,
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
        let place = Place {
            services,
            grpc_listen: None,
            peers: BTreeMap::new(),
            peer_token: None,
            peer_tls: None,
            signing_key: None,
        };
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

    /// With which other processes are called at an address.
    ///
    /// # Errors
    /// When the address is without TLS and this process has a certificate, or the other way round.
    pub(super) fn credentials(&self, address: &str) -> anyhow::Result<Credentials> {
        let (token, tls) = (self.place.peer_token.clone(), self.place.peer_tls.clone());
        anyhow::ensure!(
            tls.is_none() || !address.contains("http://"),
            "{address} is without TLS, and peers.tls_certificate is set: say https://HOST:PORT"
        );
        anyhow::ensure!(
            tls.is_some() || !address.contains("https://"),
            "{address} is with TLS: set peers.tls_ca, peers.tls_certificate and peers.tls_key in --config"
        );
        Ok(Credentials { token: token.filter(|_| address.starts_with("http")), tls })
    }

    /// Who signed the certificate of runs, where agents reach it by https.
    pub(super) fn runs_ca(&self) -> String {
        let tls = self.place.peer_tls.as_ref().filter(|_| self.address("runs").starts_with("https://"));
        tls.map(|tls| tls.ca.clone()).unwrap_or_default()
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
            Some(address) if !self.runs_here(service) => {
                let credentials = self.credentials(address).with_context(|| format!("--peer {service}"))?;
                Peer::remote(address, &credentials).map_err(|error| anyhow::anyhow!("--peer {service}: {error}"))
            }
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
