//! The agent's side of the node's shim server: it is asked for a shim an attempt, and started again when it has died.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;

use crate::shim::server;

/// How long the server may take for a fork; far longer than it takes on a machine that is overloaded.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// What may be asked of the server of this node.
pub struct Shims {
    /// argv that starts one, without its padding; empty where every shim is started alone.
    command: Vec<OsString>,
    server: Mutex<Option<Server>>,
}

struct Server {
    child: Child,
    socket: tokio::net::UnixStream,
}

/// A shim that the server has forked.
pub struct Forked {
    pid: Pid,
    /// Readable once the shim has ended.
    pub handle: OwnedFd,
}

impl Shims {
    /// None runs yet.
    pub fn new(command: Vec<OsString>) -> Self {
        Self { command, server: Mutex::default() }
    }

    /// Starts the server if none runs, so that the first attempt need not wait for it.
    pub async fn warm_up(&self) {
        let mut server = self.server.lock().await;
        if server.is_none() {
            *server = self.start_server();
        }
    }

    fn start_server(&self) -> Option<Server> {
        let (program, arguments) = self.command.split_first()?;
        let started = UnixStream::pair().and_then(|(own, its)| {
            own.set_nonblocking(true)?;
            let socket = tokio::net::UnixStream::from_std(own)?;
            // Nothing of the agent's environment goes on: it holds the node's token.
            let child = Command::new(program)
                .args(arguments)
                .arg(server::padding())
                .env_clear()
                .current_dir("/")
                .stdin(Stdio::from(OwnedFd::from(its)))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            Ok(Server { child, socket })
        });
        started.inspect_err(|error| tracing::warn!("no shim server, shims are started alone: {error}")).ok()
    }

    /// A shim of the attempt; `None` when the server cannot be asked. Whether it has forked one nobody knows then: the
    /// next shim finds out by the lock of the attempt.
    pub async fn fork(&self, folder: &Path) -> Option<Forked> {
        let mut server = self.server.lock().await;
        // Out of its place meanwhile: a request that is given up half way must not be followed by another.
        let mut running = server.take().or_else(|| self.start_server())?;
        let answer = tokio::time::timeout(ANSWER_WAIT, running.fork(folder)).await;
        match answer.unwrap_or_else(|late| Err(late.into())) {
            Ok(forked) => {
                *server = Some(running);
                Some(forked)
            }
            Err(error) => {
                tracing::warn!("the shim server has failed and is started again: {error}");
                running.end();
                None
            }
        }
    }

    /// Takes the status of an ended shim away.
    pub async fn reap(&self, forked: Forked) {
        let mut server = self.server.lock().await;
        let Some(mut running) = server.take() else { return };
        match running.send(server::REAP, forked.pid.as_raw_pid().to_string().as_bytes()).await {
            Ok(()) => *server = Some(running),
            Err(_) => running.end(),
        }
    }

    /// Ends the server; its shims go on.
    pub async fn end(&self) {
        if let Some(server) = self.server.lock().await.take() {
            server.end();
        }
    }
}

impl Server {
    async fn send(&mut self, kind: u8, text: &[u8]) -> io::Result<()> {
        let length = u32::try_from(text.len() + 1).map_err(io::Error::other)?;
        let mut request = length.to_le_bytes().to_vec();
        request.push(kind);
        request.extend_from_slice(text);
        self.socket.write_all(&request).await
    }

    async fn fork(&mut self, folder: &Path) -> io::Result<Forked> {
        self.send(server::START, folder.as_os_str().as_bytes()).await?;
        let mut answer = [0; 4];
        self.socket.read_exact(&mut answer).await?;
        let answer = i32::from_le_bytes(answer);
        let pid = Pid::from_raw(answer).filter(|_| answer > 0);
        let pid = pid.ok_or_else(|| io::Error::from_raw_os_error(answer.saturating_neg()))?;
        // It is there until we let it be reaped, even when it has ended.
        let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Forked { pid, handle })
    }

    fn end(mut self) {
        drop(self.socket);
        // Without its socket it ends at once; one that does not is of no use.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
