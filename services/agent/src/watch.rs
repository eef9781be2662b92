//! Learning of changes in attempts' folders as they happen: one inotify for the whole agent, a counter for each folder.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runtime::process::readable;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::folder;

/// How often a folder is looked at when the system has no watches left to give.
const POLL: Duration = Duration::from_millis(50);
/// Bytes of events read at once.
const BUFFER_BYTES: usize = 16 << 10;
/// The files whose change matters to the agent; its own journals are not among them.
const WATCHED: [&str; 5] = [folder::STDOUT, folder::STDERR, folder::NOTICES, folder::STATE, folder::EXIT];

/// The watches of an agent.
#[derive(Debug)]
pub struct Watcher {
    events: Option<AsyncFd<OwnedFd>>,
    folders: Mutex<HashMap<i32, watch::Sender<u64>>>,
}

/// One watched folder; the watch ends with it.
#[derive(Debug)]
pub struct Watched {
    watcher: Arc<Watcher>,
    key: Option<i32>,
    /// Changes whenever a file of the folder may have.
    pub changes: watch::Receiver<u64>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let (Some(key), Some(events)) = (self.key, &self.watcher.events) {
            self.watcher.lock().remove(&key);
            let _ = inotify::remove_watch(events.get_ref(), key);
        }
    }
}

impl Watcher {
    /// Begins to watch. Without inotify every folder is polled instead.
    pub fn start() -> Arc<Self> {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(std::io::Error::from)
            .and_then(readable);
        if let Err(error) = &events {
            tracing::warn!("no inotify ({error}): output is polled");
        }
        let watcher = Arc::new(Self { events: events.ok(), folders: Mutex::default() });
        if watcher.events.is_some() {
            tokio::spawn(Arc::clone(&watcher).read_events());
        }
        watcher
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<i32, watch::Sender<u64>>> {
        // The map is whole after every statement that changes it.
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a folder.
    pub fn watch(self: &Arc<Self>, folder: &Path) -> Watched {
        let (sender, changes) = watch::channel(0);
        let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        let mut folders = self.lock();
        let key = self.events.as_ref().and_then(|events| inotify::add_watch(events.get_ref(), folder, flags).ok());
        match key {
            Some(key) => {
                folders.insert(key, sender);
            }
            None => {
                tokio::spawn(poll(sender));
            }
        }
        Watched { watcher: Arc::clone(self), key, changes }
    }

    async fn read_events(self: Arc<Self>) {
        let Some(events) = &self.events else { return };
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
        while let Ok(mut ready) = events.readable().await {
            let mut reader = inotify::Reader::new(events.get_ref(), &mut buffer);
            loop {
                match reader.next() {
                    Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => self.tell_all(),
                    Ok(event) => {
                        let is_watched = event
                            .file_name()
                            .and_then(|name| name.to_str().ok())
                            .is_some_and(|name| WATCHED.contains(&name));
                        if is_watched && let Some(sender) = self.lock().get(&event.wd()) {
                            sender.send_modify(|count| *count += 1);
                        }
                    }
                    Err(rustix::io::Errno::AGAIN) => break,
                    Err(error) => {
                        tracing::error!("inotify: {error}");
                        break;
                    }
                }
            }
            ready.clear_ready();
        }
    }

    fn tell_all(&self) {
        for sender in self.lock().values() {
            sender.send_modify(|count| *count += 1);
        }
    }
}

async fn poll(sender: watch::Sender<u64>) {
    while !sender.is_closed() {
        tokio::time::sleep(POLL).await;
        sender.send_modify(|count| *count += 1);
    }
}
