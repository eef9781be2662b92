//! One client type for a service in this process and for one behind a socket.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tonic::body::Body;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};

use crate::replicas;

/// The header that carries the shared secret between the processes of one installation.
pub const PEER_TOKEN: &str = "trialog-peer-token";

/// What servers over TCP ask of whoever calls them.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The installation's peer token; agents have none.
    pub token: Option<String>,
    /// For addresses with `https`.
    pub tls: Option<Tls>,
}

impl std::fmt::Debug for Credentials {
    /// Without secrets: they must not get into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("has_tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

/// Whose servers are trusted, and how this process shows itself to them. All texts are PEM.
#[derive(Clone)]
pub struct Tls {
    /// The authority of the installation's certificates.
    pub ca: String,
    /// A certificate of that authority and its key; agents have none.
    pub identity: Option<(String, String)>,
}

/// How long a connection over TCP may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How often a server over TCP is asked whether it is there, and how long it may take to say so: one that is starved on
/// a busy machine takes a second or two.
const PING_EVERY: Duration = Duration::from_secs(1);
const PONG_MAX: Duration = Duration::from_secs(2);

pub(crate) type Boxed = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// A service to call. Clones share the connection. Until it is connected, calls fail with UNAVAILABLE.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    inner: Arc<OnceLock<Boxed>>,
}

impl Peer {
    /// A peer that is connected later by [`Peer::connect_routes`]: services know their peers before these
    /// exist.
    pub fn deferred() -> Self {
        Self::default()
    }

    /// A peer behind `unix:PATH`, `http://HOST:PORT` or `https://HOST:PORT`, or behind several of them with commas
    /// between: replicas, each of which answers or forwards. Connects on first use and again after a loss.
    ///
    /// # Errors
    /// When an address is none of them, the token cannot stand in a header, or there is no authority for `https`.
    pub fn remote(addresses: &str, credentials: &Credentials) -> Result<Self, String> {
        let (peer, service) = (Self::deferred(), replicas::connect(addresses, credentials.tls.as_ref())?);
        let Some(token) = &credentials.token else {
            let _ = peer.inner.set(service);
            return Ok(peer);
        };
        let value: http::HeaderValue =
            token.parse().map_err(|_| "the peer token has characters that a header cannot hold")?;
        let service = service.map_request(move |mut request: Request<Body>| {
            request.headers_mut().insert(PEER_TOKEN, value.clone());
            request
        });
        let _ = peer.inner.set(BoxCloneSyncService::new(service));
        Ok(peer)
    }

    /// Connects to servers in this process: no socket, no copy of the connection's state.
    pub fn connect_routes(&self, routes: tonic::service::Routes) {
        let service = ServiceExt::<Request<Body>>::map_err(routes, |never: Infallible| match never {});
        // A second connect keeps the first: both would lead to the same servers.
        let _ = self.inner.set(BoxCloneSyncService::new(service));
    }
}

/// A lazy channel to `unix:PATH`, `http://HOST:PORT` or `https://HOST:PORT`.
///
/// # Errors
/// When the address is none of them, or `https` and there is no authority to trust.
pub fn channel(address: &str, tls: Option<&Tls>) -> Result<Channel, String> {
    let Some(path) = address.strip_prefix("unix:") else {
        let mut endpoint =
            Endpoint::from_shared(address.to_owned()).map_err(|error| format!("{address:?}: {error}"))?;
        if endpoint.uri().scheme_str() == Some("https") {
            let tls =
                tls.ok_or_else(|| format!("{address}: for https the authority of its certificate has to be known"))?;
            endpoint = endpoint.tls_config(client_config(tls)).map_err(|error| format!("{address}: {error:?}"))?;
        }
        let endpoint = endpoint
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .connect_timeout(CONNECT_MAX)
            // A server that stands still answers no ping: its calls fail then, and do not wait for it.
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_MAX)
            .keep_alive_while_idle(true);
        return Ok(endpoint.connect_lazy());
    };
    let path = Arc::new(std::path::PathBuf::from(path));
    let endpoint = Endpoint::from_static("http://socket.invalid").http2_max_header_list_size(HEADER_BYTES_MAX);
    Ok(
        endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let path = Arc::clone(&path);
            async move {
                Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(tokio::net::UnixStream::connect(&*path).await?))
            }
        })),
    )
}

fn client_config(tls: &Tls) -> ClientTlsConfig {
    let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.ca));
    match &tls.identity {
        Some((certificate, key)) => config.identity(Identity::from_pem(certificate, key)),
        None => config,
    }
}

impl Service<Request<Body>> for Peer {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.inner.get() {
            Some(service) => Box::pin(service.clone().oneshot(request)),
            None => {
                Box::pin(async { Err(BoxError::from(tonic::Status::unavailable("the service is still starting"))) })
            }
        }
    }
}

/// Every service that another one may call or follow.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// Workspaces and tokens.
    pub workspaces: Peer,
    /// Runs, metrics, artifacts, objects.
    pub runs: Peer,
    /// Sweeps.
    pub sweeps: Peer,
    /// Registered models.
    pub models: Peer,
    /// Clusters, jobs, endpoints.
    pub compute: Peer,
}

impl Peers {
    /// The peer of a service by its name.
    pub fn by_name(&self, service: &str) -> Option<&Peer> {
        Some(match service {
            "workspaces" => &self.workspaces,
            "runs" => &self.runs,
            "sweeps" => &self.sweeps,
            "models" => &self.models,
            "compute" => &self.compute,
            _ => return None,
        })
    }
}

/// How large the headers of an answer may be: a problem with 200 errors travels in them.
const HEADER_BYTES_MAX: u32 = 1 << 20;
/// How large a message may be on either side: metric batches of 4 MiB and a margin for their frame.
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;

macro_rules! clients {
    ($($(#[$meta:meta])* $name:ident: $client:path, $peer:ident;)+) => {
        impl Peers {
            $($(#[$meta])* pub fn $name(&self) -> $client {
                <$client>::new(self.$peer.clone())
                    .max_decoding_message_size(MESSAGE_BYTES_MAX)
                    .max_encoding_message_size(MESSAGE_BYTES_MAX)
            })+
        }
    };
}

type WorkspacesClient = crate::workspaces::workspaces_service_client::WorkspacesServiceClient<Peer>;
type RunsClient = crate::runs::runs_service_client::RunsServiceClient<Peer>;
type SweepsClient = crate::sweeps::sweeps_service_client::SweepsServiceClient<Peer>;
type ModelsClient = crate::models::models_service_client::ModelsServiceClient<Peer>;
type ComputeClient = crate::compute::compute_service_client::ComputeServiceClient<Peer>;
type RoutesClient = crate::compute::routes_service_client::RoutesServiceClient<Peer>;
type AgentClient = crate::compute::agent_service_client::AgentServiceClient<Peer>;

clients! {
    /// The client of workspaces.
    workspaces_client: WorkspacesClient, workspaces;
    /// The client of runs.
    runs_client: RunsClient, runs;
    /// The client of sweeps.
    sweeps_client: SweepsClient, sweeps;
    /// The client of models.
    models_client: ModelsClient, models;
    /// The client of compute.
    compute_client: ComputeClient, compute;
    /// The client of the inference routes, which compute serves.
    routes_client: RoutesClient, compute;
    /// The client that a node's agent uses.
    agent_client: AgentClient, compute;
}
