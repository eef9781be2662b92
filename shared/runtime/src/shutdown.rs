//! One token that tells everything in the process to end.

use tokio_util::sync::CancellationToken;

/// Clones share the state: once requested, requested for all.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A process that is to go on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells everything to end.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Whether the end was requested.
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until the end is requested.
    pub async fn requested(&self) {
        self.0.cancelled().await;
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
