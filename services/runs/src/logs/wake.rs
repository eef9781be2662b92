//! Wakes those who follow a run's log when there is more of it, or when the run has ended.

use tokio::sync::broadcast;
use vocabulary::RunId;

/// Wake-ups that wait for a slow follower; one that misses some looks anyway.
const CAPACITY: usize = 1_024;

/// Says which run has news. Clones say it to the same followers.
#[derive(Clone, Debug)]
pub struct Wake(broadcast::Sender<RunId>);

impl Default for Wake {
    fn default() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }
}

impl Wake {
    /// A run has news.
    pub fn wake(&self, run: RunId) {
        // Nobody follows: nobody to wake.
        let _ = self.0.send(run);
    }

    /// Listens for news from now on.
    pub fn listen(&self, run: RunId) -> Listener {
        Listener { run, news: self.0.subscribe() }
    }
}

/// One who follows a run.
#[derive(Debug)]
pub struct Listener {
    run: RunId,
    news: broadcast::Receiver<RunId>,
}

impl Listener {
    /// Waits for news of the run. False when there will be none any more.
    pub async fn changed(&mut self) -> bool {
        loop {
            match self.news.recv().await {
                Ok(run) if run == self.run => return true,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return true,
                Err(broadcast::error::RecvError::Closed) => return false,
            }
        }
    }
}
