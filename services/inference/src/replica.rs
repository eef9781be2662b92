//! One replica of a deployment: its connections, how many requests it has, and whether it broke lately.

use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::thread::ThreadId;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::frame::{self, AnswerHeader, Broken, RequestHeader};

/// How long a replica that broke is asked only when there is no other.
const EJECTED_US: i64 = 1_000_000;

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

/// A connection that waits for its next request. It is driven by the thread that opened it, and used again only there.
struct Idle {
    thread: ThreadId,
    stream: Box<dyn Duplex>,
}

/// A ready replica.
pub struct Replica {
    /// Names it over changes of the table.
    pub key: String,
    address: String,
    in_flight: AtomicU32,
    ejected_until_us: AtomicI64,
    idle: Mutex<Vec<Idle>>,
}

/// Why a replica gave no answer.
#[derive(Debug)]
pub enum CallFailure {
    /// Nobody listens there.
    Unreachable(io::Error),
    /// It went away without a byte of an answer.
    Silent(io::Error),
    /// Its answer broke off.
    Torn(io::Error),
}

impl Replica {
    /// A replica at `unix:PATH` or `tcp:HOST:PORT`.
    pub fn new(key: String, address: String) -> Self {
        Self {
            key,
            address,
            in_flight: AtomicU32::new(0),
            ejected_until_us: AtomicI64::new(i64::MIN),
            idle: Mutex::default(),
        }
    }

    /// Requests that it has now.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Whether it broke so lately that others go first.
    pub fn is_ejected(&self, now_us: i64) -> bool {
        self.ejected_until_us.load(Ordering::Relaxed) > now_us
    }

    /// Takes one of `most` places; false when all are taken.
    pub fn enter(&self, most: u32) -> bool {
        let take = |count| (count < most).then_some(count + 1);
        self.in_flight.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }

    /// Gives a place back.
    pub fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    /// Asks the replica on a kept connection or a new one. After a failure no kept connection is used again: they died
    /// together.
    ///
    /// # Errors
    /// See [`CallFailure`].
    pub async fn call(
        &self,
        header: &RequestHeader,
        body: &Bytes,
        keep: u32,
        now_us: i64,
    ) -> Result<(AnswerHeader, Bytes), CallFailure> {
        let outcome = self.exchange(header, body, keep).await;
        match &outcome {
            Ok(_) => self.ejected_until_us.store(i64::MIN, Ordering::Relaxed),
            Err(_) => {
                self.ejected_until_us.store(now_us + EJECTED_US, Ordering::Relaxed);
                self.lock().clear();
            }
        }
        outcome
    }

    async fn exchange(
        &self,
        header: &RequestHeader,
        body: &Bytes,
        keep: u32,
    ) -> Result<(AnswerHeader, Bytes), CallFailure> {
        let mut stream = match self.take_idle() {
            Some(stream) => stream,
            None => self.connect().await.map_err(CallFailure::Unreachable)?,
        };
        match frame::exchange(&mut stream, header, body).await {
            Ok(answer) => {
                self.keep(stream, keep);
                Ok(answer)
            }
            Err(Broken::Before(error)) => Err(CallFailure::Silent(error)),
            Err(Broken::Within(error)) => Err(CallFailure::Torn(error)),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        // The list is whole after every statement that changes it.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_idle(&self) -> Option<Box<dyn Duplex>> {
        let mut idle = self.lock();
        let here = std::thread::current().id();
        let at = idle.iter().rposition(|kept| kept.thread == here)?;
        Some(idle.remove(at).stream)
    }

    /// Keeps a connection; the oldest one goes when there are more than the replica may have requests.
    fn keep(&self, stream: Box<dyn Duplex>, most: u32) {
        let mut idle = self.lock();
        idle.push(Idle { thread: std::thread::current().id(), stream });
        if idle.len() > most as usize {
            idle.remove(0);
        }
    }

    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        if let Some(path) = self.address.strip_prefix("unix:") {
            return Ok(Box::new(UnixStream::connect(path).await?));
        }
        let host = self.address.strip_prefix("tcp:").ok_or_else(|| {
            io::Error::other(format!("address '{}' is neither unix:PATH nor tcp:HOST:PORT", self.address))
        })?;
        let stream = TcpStream::connect(host).await?;
        // A frame is written in two pieces; the second must not wait for the first one's acknowledgement.
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("key", &self.key).field("in_flight", &self.in_flight()).finish()
    }
}
