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
    /// The id of its parent.
    server: u32,
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
            Ok(Ok(forked)) => {
                *server = Some(running);
                Some(forked)
            }
            Ok(Err(refusal)) => {
                tracing::warn!("no shim can be forked for now: {refusal}");
                *server = Some(running);
                None
            }
            Err(error) => {
                tracing::warn!("the shim server has failed and is started again: {error}");
                None
            }
        }
    }

    /// Takes the status of an ended shim away.
    pub async fn reap(&self, forked: Forked) {
        let mut server = self.server.lock().await;
        // Only its own server is its parent.
        let Some(mut running) = server.take_if(|server| server.id() == forked.server) else { return };
        let pid = forked.pid.as_raw_pid().to_string();
        if let Ok(Ok(())) = tokio::time::timeout(ANSWER_WAIT, running.send(server::REAP, pid.as_bytes())).await {
            *server = Some(running);
        }
    }

    /// Ends the server; its shims go on.
    pub async fn end(&self) {
        drop(self.server.lock().await.take());
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

    fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error when the server is of no use any more, a refusal when the machine forks nothing for now.
    async fn fork(&mut self, folder: &Path) -> io::Result<Result<Forked, io::Error>> {
        self.send(server::START, folder.as_os_str().as_bytes()).await?;
        let mut answer = [0; 4];
        self.socket.read_exact(&mut answer).await?;
        let answer = i32::from_le_bytes(answer);
        let pid = if answer > 0 { Pid::from_raw(answer) } else { None };
        let Some(pid) = pid else { return Ok(Err(io::Error::from_raw_os_error(answer.saturating_neg()))) };
        // It is there until we let it be reaped, even when it has ended.
        let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Ok(Forked { pid, server: self.id(), handle }))
    }
}

impl Drop for Server {
    /// Without its socket it would end by itself; one that hangs would not.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    async fn answered(answer: &[u8]) -> (bool, bool) {
        let (own, mut its) = UnixStream::pair().unwrap();
        own.set_nonblocking(true).unwrap();
        its.write_all(answer).unwrap();
        its.shutdown(std::net::Shutdown::Write).unwrap();
        let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let socket = tokio::net::UnixStream::from_std(own).unwrap();
        let shims = Shims { command: Vec::new(), server: Mutex::new(Some(Server { child, socket })) };
        let forked = shims.fork(Path::new("/a")).await.is_some();
        let is_kept = shims.server.lock().await.is_some();
        (forked, is_kept)
    }

    #[tokio::test]
    async fn a_machine_that_forks_nothing_for_now_is_no_fault_of_the_server() {
        // The shim is started alone then; the server is not to be killed for it, and nothing may panic.
        assert_eq!(answered(&(-11_i32).to_le_bytes()).await, (false, true));
        assert_eq!(answered(&0_i32.to_le_bytes()).await, (false, true));
        assert_eq!(answered(b"x").await, (false, false), "half an answer");
    }
}
