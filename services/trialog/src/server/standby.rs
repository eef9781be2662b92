//! A process whose logs another one writes: it answers reads from the database that both reach, forwards everything
//! else to the one that writes, and takes over when that one is gone. Only where logs lie in such a database.
//!
//! Replicas run the same services, so one process has all of their logs or none.

use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use anyhow::{Context, bail};
use contracts::Peer;
use contracts::peer::Credentials;
use eventlog::{Error, Holder, Stores};
use runtime::{MachineEntropy, Shutdown, Stopwatch};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderValue, Request};
use tonic::service::Routes;
use tower::ServiceExt;
use vocabulary::Entropy;

use super::plan::Plan;
use super::reads::Reads;
use super::settings::Settings;
use super::{databases, folder, listen};

/// Between two looks whether a lease is free: a third of a second in which nobody writes costs less than asking more
/// often.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How often leases are kept while logs are opened.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// Longer than a lease lasts: what is held then is held by somebody who lives.
const LEASE_OVER: Duration = Duration::from_secs(5);
/// How long the logs may take to be opened for reading: nobody takes over meanwhile.
const OPEN_MAX: Duration = Duration::from_secs(5);
/// Looks between two tries to open them, at most: half a minute.
const PAUSE_MAX: u32 = 100;
/// The header of a call that one that stands by has sent on: it is sent on once.
const FORWARDED: &str = "trialog-forwarded";
/// Services whose files lie in the data folder of the process that writes their logs.
fn bound_to_folder(settings: &Settings) -> &'static [&'static str] {
    if settings.objects.are_shared() { &["compute"] } else { &["runs", "compute"] }
}

/// The stores of an installation as this process holds them, reached by others at `address`.
///
/// # Errors
/// When the URL of the database is none, or the process has no name and cannot be given one.
pub fn stores(settings: &Settings, folder: &folder::DataFolder, address: String) -> anyhow::Result<Stores> {
    let stores = settings.store.stores(folder.root())?;
    if settings.store.url.is_empty() {
        return Ok(stores);
    }
    let holder = holder(folder, address, &MachineEntropy::default())?;
    Ok(stores.held_by(Holder { keeps_files_of: bound_to_folder(settings), ..holder }))
}

/// Who this process is among those that write logs: by a name that its data folder keeps.
fn holder(folder: &folder::DataFolder, address: String, entropy: &dyn Entropy) -> anyhow::Result<Holder> {
    let path = folder.root().join("db/holder");
    let kept = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| path.display().to_string());
        }
        kept => kept.unwrap_or_default(),
    };
    let kept = if kept.trim().is_empty() {
        let new = format!("holder_{:016x}", entropy.seed());
        folder::replace(&path, new.as_bytes())?;
        new
    } else {
        kept.trim().to_owned()
    };
    Ok(Holder { name: kept, address, keeps_files_of: &[] })
}

/// Waits until this process holds the leases of all its logs. Until then it forwards, and answers reads by the routes
/// that `read` opens, anew for each process that writes, which may be of another build. False when it is to end before.
///
/// # Errors
/// When another process has logs whose files are with it, or the listener cannot be opened.
pub async fn wait(
    plan: &Plan,
    signing_key: [u8; 32],
    shutdown: &Shutdown,
    read: impl AsyncFn() -> anyhow::Result<Reads>,
) -> anyhow::Result<bool> {
    if !plan.is_shared() {
        return Ok(true);
    }
    let services: Vec<&str> = databases::KEEPERS.into_iter().filter(|name| plan.runs_here(name)).collect();
    let (since, mut forwarding) = (Stopwatch::start(), None::<Forwarding>);
    loop {
        let mut failure = None;
        let looked = tokio::select! {
            looked = held_elsewhere(plan, &services) => looked,
            () = shutdown.requested() => return Ok(false),
        };
        let elsewhere = match looked {
            Ok(None) => break,
            Ok(Some((service, holder))) => {
                let bound = services.iter().find(|name| bound_to_folder(&plan.settings).contains(name));
                if let Some(bound) = bound.filter(|_| since.elapsed() > LEASE_OVER) {
                    let way_out =
                        if *bound == "runs" { "; with `[objects] url = \"s3://…\"` it keeps none" } else { "" };
                    bail!(
                        "{} runs {service}: {bound} keeps files in that process's data folder, so nobody can stand by \
                         for it; stop that one first, or leave {bound} out of --services here{way_out}",
                        holder.name
                    );
                }
                Some(holder)
            }
            Err(error) => {
                tracing::warn!("it is not known who writes the logs: {error}");
                failure = Some(error);
                None
            }
        };
        let forwarding = match &mut forwarding {
            Some(forwarding) => forwarding,
            none => {
                let named = |holder: &Holder| format!("{} at {}", holder.name, holder.address);
                let writes = elsewhere.as_ref().map_or("nobody".to_owned(), named);
                tracing::info!(services = services.join(","), writes, "standing by");
                none.insert(Forwarding::begin(plan, signing_key)?)
            }
        };
        forwarding.turn_to(elsewhere, failure)?;
        // Files of a service are with one process, and nobody stands by for that one for long.
        if services.iter().all(|name| !bound_to_folder(&plan.settings).contains(name)) {
            tokio::select! {
                () = forwarding.read_beside(&read) => {}
                () = shutdown.requested() => return Ok(false),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.requested() => return Ok(false),
        }
    }
    if forwarding.take().is_some() {
        tracing::info!(services = services.join(","), "taking over");
    }
    Ok(true)
}

/// Keeps the leases while the logs are opened, one after the other, which may take longer than a lease lasts; until the
/// answer is dropped. An opened log keeps its own.
pub fn keep(plan: &Plan) -> JoinSet<()> {
    let mut keeping = JoinSet::new();
    for service in databases::KEEPERS.into_iter().filter(|name| plan.is_shared() && plan.runs_here(name)) {
        let store = plan.stores.of(service);
        keeping.spawn(async move {
            loop {
                tokio::time::sleep(KEEP_EVERY).await;
                if let Err(error) = store.claim().await {
                    tracing::warn!(service, "its lease could not be kept: {error}");
                }
            }
        });
    }
    keeping
}

/// Takes the leases, one after the other, up to the first that somebody else has. Those behind it are given up by the
/// way: two processes that each hold what the other one waits for would wait for ever.
async fn held_elsewhere(plan: &Plan, services: &[&str]) -> Result<Option<(String, Holder)>, eventlog::Error> {
    for service in services {
        if let Some(holder) = plan.stores.of(service).claim().await? {
            return Ok(Some(((*service).to_owned(), holder)));
        }
    }
    Ok(None)
}

/// Where calls are sent on to; nowhere while nobody is known, and why not, if that is not known either.
#[derive(Clone, Default)]
struct Target(Arc<RwLock<Known>>);

#[derive(Clone, Default)]
struct Known {
    writer: Option<(String, Peer)>,
    failure: Option<Error>,
    /// What answers reads here.
    reads: Option<Reads>,
}

/// The gRPC door of a process that stands by.
struct Forwarding {
    target: Target,
    credentials: Credentials,
    /// Why reads were not answered here when that was tried last, and the looks until it is tried again.
    refusal: Option<String>,
    pause: (u32, u32),
    /// The door is open until this is dropped.
    door: Shutdown,
    _tasks: JoinSet<()>,
}

impl Forwarding {
    fn begin(plan: &Plan, signing_key: [u8; 32]) -> anyhow::Result<Self> {
        let (target, door) = (Target::default(), Shutdown::new());
        let mut tasks = Vec::new();
        listen::grpc(plan, signing_key, forwarded(target.clone()), &door, &mut tasks)?;
        let _tasks = runtime::supervise(tasks, &door, &runtime::Health::new());
        let credentials = Credentials { token: plan.place.peer_token.clone(), tls: plan.place.peer_tls.clone() };
        Ok(Self { target, credentials, refusal: None, pause: (0, 1), door, _tasks })
    }

    fn known(&self) -> RwLockWriteGuard<'_, Known> {
        self.target.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the logs for reading beside who writes them, unless they are. While they cannot be, reads are forwarded,
    /// and it is tried less and less often: an upgrade takes a moment, an older build stays one.
    async fn read_beside(&mut self, read: &impl AsyncFn() -> anyhow::Result<Reads>) {
        let Some(writer) = self.known().writer.as_ref().map(|(address, _)| address.clone()) else { return };
        if self.known().reads.as_ref().is_some_and(|reads| !reads.are_over()) {
            return;
        }
        self.known().reads = None;
        let (left, next) = self.pause;
        if left > 0 {
            self.pause = (left - 1, next);
            return;
        }
        let opened = tokio::time::timeout(OPEN_MAX, read()).await;
        match opened.unwrap_or_else(|_| Err(anyhow::anyhow!("the logs could not be opened in time"))) {
            Ok(reads) => {
                tracing::info!(writer, "reads are answered here");
                self.known().reads = Some(reads);
                (self.refusal, self.pause) = (None, (0, 1));
            }
            Err(error) => {
                let refusal = format!("{error:#}");
                if self.refusal.as_ref() != Some(&refusal) {
                    tracing::warn!(writer, "reads are forwarded: {refusal}");
                }
                (self.refusal, self.pause) = (Some(refusal), (next, (next * 2).min(PAUSE_MAX)));
            }
        }
    }

    fn turn_to(&self, holder: Option<Holder>, failure: Option<Error>) -> anyhow::Result<()> {
        let address = holder.map(|holder| holder.address).filter(|address| !address.is_empty());
        let mut target = self.known();
        target.failure = failure;
        if target.writer.as_ref().map(|(at, _)| at) == address.as_ref() {
            return Ok(());
        }
        target.writer = match address {
            None => None,
            Some(address) => {
                let peer = Peer::remote(&address, &self.credentials).map_err(anyhow::Error::msg)?;
                Some((address, peer))
            }
        };
        Ok(())
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.door.request();
    }
}

/// Routes that answer reads, where their logs could be opened, and send every other call on, with its streams, as it
/// is.
fn forwarded(target: Target) -> Routes {
    listen::routed(move |mut request: Request<Body>| {
        let target = target.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        async move {
            if let Some(reads) = target.reads {
                match reads.answer(request).await {
                    Ok(answer) => return answer,
                    Err(back) => request = back,
                }
            }
            let away = |why: &str| {
                let mut answer = Status::unavailable(format!("this process stands by: {why}")).into_http();
                answer.headers_mut().insert(contracts::AWAY, HeaderValue::from_static("1"));
                answer
            };
            let (is_marked, mark) = (request.headers().contains_key(FORWARDED), HeaderValue::from_static("1"));
            request.headers_mut().insert(FORWARDED, mark);
            match target.writer {
                // The same as from one that writes: the database is away.
                None if let Some(error) = target.failure => contracts::status_of(&error.problem()).into_http(),
                None => away("nobody writes the logs at the moment; try again"),
                // Two that take each other for the writer, or an address that leads back here.
                Some((address, _)) if is_marked => away(&format!("a call that was forwarded here from {address}")),
                Some((address, peer)) => {
                    peer.oneshot(request).await.unwrap_or_else(|error| away(&format!("{address}: {error}")))
                }
            }
        }
    })
}
