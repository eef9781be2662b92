//! Background tasks that are begun again when they fail: one bad record must not stop a service.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::{Backoff, Shutdown};

type Attempt = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// Shortest and longest wait before a failed task is begun again.
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);

/// A task by name, and how to begin it.
pub struct Task {
    name: String,
    begin: Box<dyn Fn() -> Attempt + Send>,
}

impl Task {
    /// A task that `begin` starts, also after a failure. It should end when shutdown is requested.
    pub fn new<F, A>(name: impl Into<String>, begin: F) -> Self
    where
        F: Fn() -> A + Send + 'static,
        A: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self { name: name.into(), begin: Box::new(move || Box::pin(begin())) }
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Task({})", self.name)
    }
}

/// Runs the tasks until each has ended by itself or shutdown is requested. Failures and panics are logged and the task
/// is
/// begun again.
pub fn supervise(tasks: Vec<Task>, shutdown: &Shutdown) -> tokio::task::JoinSet<()> {
    let mut set = tokio::task::JoinSet::new();
    for task in tasks {
        set.spawn(keep(task.name, task.begin, shutdown.clone()));
    }
    set
}

async fn keep(name: String, begin: Box<dyn Fn() -> Attempt + Send>, shutdown: Shutdown) {
    let mut backoff = Backoff::new(BACK_OFF_MIN, BACK_OFF_MAX);
    while !shutdown.is_requested() {
        let mut attempt = tokio::spawn(begin());
        let ended = tokio::select! {
            ended = &mut attempt => ended,
            () = shutdown.requested() => {
                // A short grace for the task to see the same request.
                if tokio::time::timeout(Duration::from_secs(2), &mut attempt).await.is_err() {
                    attempt.abort();
                }
                return;
            }
        };
        match ended {
            Ok(Ok(())) => return,
            Ok(Err(error)) => tracing::error!(task = name, "failed, begins again: {error:#}"),
            Err(error) => tracing::error!(task = name, "broke, begins again: {error}"),
        }
        if !backoff.wait_unless(&shutdown).await {
            return;
        }
    }
}
