//! The doors of a server process: gRPC on a Unix socket (and on TCP where asked for), REST and scoring on HTTP.

use std::convert::Infallible;
use std::sync::Arc;

use actix_web::web::Data;
use anyhow::Context;
use contracts::peer::{PEER_TOKEN, Tls};
use contracts::{NodeBearer, Peers};
use runtime::{Health, Shutdown, Task};
use subtle::ConstantTimeEq;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
use tonic::service::Routes;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tower::ServiceExt;
use vocabulary::{Clock, Entropy, token};

use super::plan::Plan;

/// Listens for gRPC: the socket is the owner's alone; the TCP door asks for the installation's secret.
pub fn grpc(
    plan: &Plan,
    signing_key: [u8; 32],
    routes: Routes,
    shutdown: &Shutdown,
    tasks: &mut Vec<Task>,
) -> anyhow::Result<()> {
    let path = plan.folder.socket();
    tasks.push(Task::new("grpc-socket", {
        let (routes, shutdown) = (routes.clone(), shutdown.clone());
        move || socket(path.clone(), routes.clone(), shutdown.clone())
    }));
    let Some(address) = plan.place.grpc_listen.clone() else { return Ok(()) };
    let (peer_token, tls) = (plan.place.peer_token.clone().unwrap_or_default(), plan.place.peer_tls.clone());
    let guard = Guard { peer_token, asks_certificate: tls.is_some(), signing_key };
    let (routes, shutdown) = (guarded(routes, guard), shutdown.clone());
    tasks.push(Task::new("grpc-tcp", move || tcp(address.clone(), tls.clone(), routes.clone(), shutdown.clone())));
    Ok(())
}

async fn socket(path: std::path::PathBuf, routes: Routes, shutdown: Shutdown) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    // What a server that was killed left behind; the folder's lock says that nobody listens there.
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path).with_context(|| format!("{}", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
    tonic::transport::Server::builder()
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, async move { shutdown.requested().await })
        .await?;
    Ok(())
}

/// Whom the TCP door lets in: the processes of the installation, by its secret and, with TLS, a certificate of its
/// authority; and agents of its nodes, by their secret.
#[derive(Clone)]
struct Guard {
    peer_token: String,
    asks_certificate: bool,
    signing_key: [u8; 32],
}

/// What agents call, which looks at what the node may do itself.
const OF_AGENTS: [&str; 6] = [
    "/trialog.compute.v1.AgentService/Connect",
    "/trialog.runs.v1.RunsService/GetObject",
    "/trialog.runs.v1.RunsService/PutObject",
    "/trialog.runs.v1.RunsService/RecordArtifacts",
    "/trialog.runs.v1.RunsService/RecordMetrics",
    "/trialog.runs.v1.RunsService/AppendLogs",
];

impl Guard {
    /// Whether a call comes in. One of an agent is the agent's then, whoever it says that acts.
    fn lets_in(&self, path: &str, headers: &mut HeaderMap, has_certificate: bool) -> bool {
        let given = headers.get(PEER_TOKEN).map(HeaderValue::as_bytes).unwrap_or_default();
        if bool::from(given.ct_eq(self.peer_token.as_bytes())) && (has_certificate || !self.asks_certificate) {
            return true;
        }
        let node = OF_AGENTS.contains(&path).then(|| NodeBearer::of_headers(headers)).flatten();
        let node = node.filter(|node| token::is_node_secret(&node.node_id, &node.secret, &self.signing_key));
        if let Some(node) = &node {
            contracts::act_as_agent(headers, &node.node_id);
        }
        node.is_some()
    }
}

fn guarded(routes: Routes, guard: Guard) -> Routes {
    routed(move |mut request: Request<Body>| {
        let (routes, guard, path) = (routes.clone(), guard.clone(), request.uri().path().to_owned());
        // Whoever shows one that another authority has signed does not come so far.
        let shown = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>().and_then(TlsConnectInfo::peer_certs);
        let has_certificate = shown.is_some_and(|chain| !chain.is_empty());
        let is_let_in = guard.lets_in(&path, request.headers_mut(), has_certificate);
        async move {
            if is_let_in {
                return routes.oneshot(request).await.unwrap_or_else(|never| match never {});
            }
            let wanted = if guard.asks_certificate && !has_certificate {
                "no certificate was shown: processes of the installation need peers.tls_certificate, signed by its \
                 peers.tls_ca, beside the same --token-file, and nodes the --signing-key-file that compute and runs \
                 have"
            } else {
                "the peer token is missing or wrong: every process needs the same --token-file, and nodes the \
                 --signing-key-file that compute and runs have"
            };
            Status::unauthenticated(wanted).into_http()
        }
    })
}

/// Routes that answer every call in one way.
pub fn routed<A>(answer: impl Fn(Request<Body>) -> A + Clone + Send + Sync + 'static) -> Routes
where
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let service = tower::service_fn(move |request: Request<_>| {
        let answered = answer(request.map(Body::new));
        async move { Ok::<_, Infallible>(answered.await) }
    });
    Routes::default().into_axum_router().fallback_service(service).into()
}

async fn tcp(address: String, tls: Option<Tls>, routes: Routes, shutdown: Shutdown) -> anyhow::Result<()> {
    let listener =
        tokio::net::TcpListener::bind(&address).await.with_context(|| format!("cannot listen on {address}"))?;
    let mut server = tonic::transport::Server::builder();
    match tls.as_ref().and_then(super::tls::server_of_peers) {
        Some(tls) => server = server.tls_config(tls)?,
        None => {
            let way_out = "give peers.tls_ca, peers.tls_certificate and peers.tls_key in --config, or let it listen on \
                           a network of the services' own";
            super::tls::warn_without(listener.local_addr()?, "gRPC", way_out);
        }
    }
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    server.add_routes(routes).serve_with_incoming_shutdown(incoming, async move { shutdown.requested().await }).await?;
    Ok(())
}

/// What the front door needs.
pub struct Door {
    /// Every service.
    pub peers: Peers,
    /// Checks run tokens.
    pub signing_key: [u8; 32],
    /// How clients reach it.
    pub url: String,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub entropy: Arc<dyn Entropy>,
    /// The end.
    pub shutdown: Shutdown,
    /// How this process is.
    pub health: Health,
}

/// Starts REST and scoring on a bound listener.
pub fn http(
    door: Door,
    (listener, tls): (std::net::TcpListener, Option<rustls::ServerConfig>),
    workers: usize,
    tasks: &mut Vec<Task>,
) -> anyhow::Result<actix_web::dev::ServerHandle> {
    let gateway = gateway::Gateway::new(gateway::Dependencies {
        peers: door.peers.clone(),
        clock: door.clock.clone(),
        entropy: door.entropy.clone(),
        shutdown: door.shutdown.clone(),
        health: door.health,
        signing_key: door.signing_key,
        public_url: door.url,
    });
    tasks.extend(gateway.tasks().into_iter().map(|task| task.of("gateway")));
    let state = Data::new(gateway);
    let inference = inference::Inference::new(inference::Dependencies {
        peers: door.peers,
        entropy: door.entropy,
        clock: door.clock,
        shutdown: door.shutdown.clone(),
        authenticate: may_score(state.clone()),
    });
    tasks.extend(inference.tasks().into_iter().map(|task| task.of("gateway")));
    let inference = Data::new(inference);
    let measured = inference.clone();
    state.also_measure(move |with_names| measured.measure(with_names));
    let server = actix_web::HttpServer::new(move || {
        let (state, inference) = (state.clone(), inference.clone());
        actix_web::App::new()
            .configure(move |config| inference::configure(inference, config))
            .configure(move |config| gateway::configure(state, config))
    })
    .workers(workers)
    .disable_signals()
    .shutdown_timeout(3);
    let server = match tls {
        Some(tls) => server.listen_rustls_0_23(listener, tls)?,
        None => server.listen(listener)?,
    };
    let server = server.run();
    let handle = server.handle();
    tokio::spawn(async move {
        let ended = server.await;
        if !door.shutdown.is_requested() {
            door.shutdown.fail(format!("the HTTP server has ended: {ended:?}"));
        }
    });
    Ok(handle)
}

/// Who may score: the gateway knows the tokens, the router asks.
fn may_score(gateway: Data<gateway::Gateway>) -> Arc<inference::Authenticate> {
    Arc::new(move |request, workspace, endpoint| gateway.authenticate(request)?.may_score(workspace, endpoint))
}
