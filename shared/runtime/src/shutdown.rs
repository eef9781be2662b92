//! One token that tells everything in the process to end, and whether that is a failure.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Clones share the state: once requested, requested for all.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    failure: Arc<OnceLock<String>>,
}

impl Shutdown {
    /// A process that is to go on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells everything to end.
    pub fn request(&self) {
        self.token.cancel();
    }

    /// Tells everything to end because the process cannot go on; the first reason stands. The process is to end with
    /// a failure then: see [`Shutdown::failure`].
    pub fn fail(&self, reason: impl Into<String>) {
        let reason = reason.into();
        tracing::error!("the process ends: {reason}");
        // A second reason follows from the first.
        let _ = self.failure.set(reason);
        self.request();
    }

    /// Why the process cannot go on, if that is why it ends.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Whether the end was requested.
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the end is requested.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// Requests the end at SIGINT or SIGTERM.
    ///
    /// # Errors
    /// When the signals cannot be watched.
    pub fn watch_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let shutdown = self.clone();
        tokio::spawn(async move {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            shutdown.request();
        });
        Ok(())
    }
}
