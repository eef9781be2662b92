//! `trialog serve`: some services in this process, the others behind gRPC.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};

use super::folder::{self, DataFolder};
use super::plan::{Place, Plan, SERVICES};
use super::wiring;
use super::{databases, settings, standby, tls};

/// Flags of `trialog serve`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Which services run here, comma-separated: workspaces, runs, sweeps, models, compute, gateway.
    #[arg(long, value_delimiter = ',', required = true)]
    services: Vec<String>,
    /// The data folder of this process.
    #[arg(long, default_value = "./trialog-data", env = "TRIALOG_DATA")]
    data: PathBuf,
    /// Where gRPC listens besides the Unix socket in the data folder: HOST:PORT.
    #[arg(long)]
    listen: Option<String>,
    /// The address under which other processes reach its gRPC, which stand by for this one: http://HOST:PORT, or
    /// https with peers.tls_certificate; where it listens by default.
    #[arg(long)]
    address: Option<String>,
    /// Where the gateway's REST listens.
    #[arg(long)]
    http: Option<String>,
    /// Where another service is: NAME=http://HOST:PORT, https://HOST:PORT or unix:PATH; once a service. Of replicas
    /// all, with commas between: NAME=http://A:PORT,http://B:PORT.
    #[arg(long = "peer", value_parser = pair)]
    peers: Vec<(String, String)>,
    /// A file with the secret that all processes of the installation share; asked for on the TCP listener.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// The key of the tokens of runs and nodes, the same for gateway, compute and runs; default: signing.key in the
    /// data folder.
    #[arg(long)]
    signing_key_file: Option<PathBuf>,
    /// Use the database of this service as it is, also when it is missing, empty or another one than before; may be
    /// repeated.
    #[arg(long = "accept-database", value_name = "SERVICE")]
    accepted: Vec<String>,
    #[command(flatten)]
    flags: settings::Flags,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, address) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=ADDRESS"))?;
    Ok((name.to_owned(), address.to_owned()))
}

/// Runs the services until SIGINT or SIGTERM.
pub async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let mut settings = arguments.flags.begin()?;
    if let Some(http) = arguments.http {
        settings.http.listen = http;
    }
    for service in &arguments.services {
        if !SERVICES.contains(&service.as_str()) {
            bail!("--services {service}: one of {}", SERVICES.join(", "));
        }
    }
    let peer_token = match &arguments.token_file {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("--token-file {}", path.display()))?;
            Some(text.trim().to_owned())
        }
        None => None,
    };
    if arguments.listen.is_some() && peer_token.is_none() {
        bail!("--listen opens a TCP port for gRPC: give the installation's secret with --token-file");
    }
    let peer_tls = tls::of_peers(&settings.peers)?;
    let scheme = if peer_tls.is_some() { "https" } else { "http" };
    let folder = DataFolder::open(&arguments.data)?;
    let address = match (&arguments.address, &arguments.listen) {
        (Some(address), _) => address.clone(),
        (None, Some(listen)) => {
            let host = listen.rsplit_once(':').map_or(listen.as_str(), |(host, _)| host);
            if !settings.store.url.is_empty() && ["0.0.0.0", "[::]", "::", ""].contains(&host) {
                bail!(
                    "--listen {listen} is every address of this machine: say with --address {scheme}://HOST:PORT under \
                     which one other processes reach this one, which stand by for it"
                );
            }
            format!("{scheme}://{listen}")
        }
        (None, None) => format!("unix:{}", folder.socket().display()),
    };
    let stores = standby::stores(&settings, &folder, address)?;
    databases::check(folder.root(), &stores, &arguments.services, &arguments.accepted).await?;
    let signing_key = match &arguments.signing_key_file {
        Some(path) => Some(folder::signing_key(path, &runtime::MachineEntropy::default())?),
        None => None,
    };
    let peers: BTreeMap<String, String> = arguments.peers.into_iter().collect();
    let (services, grpc_listen) = (arguments.services, arguments.listen);
    let place = Place { services, grpc_listen, peers, peer_token, peer_tls, signing_key };
    wiring::run(Plan { folder, settings, stores, place, shows_token: false }).await
}
