//! Background tasks that are begun again when they fail: one bad record must not stop a service. Failures are counted,
//! and a task that fails again and again makes its process not ready.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle, JoinSet};

use crate::health::{Health, Part};
use crate::{Backoff, Shutdown};

/// A task under way.
pub type Attempt = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// How a process treats its tasks.
const PACE: Pace = Pace {
    backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(10)),
    steady: Duration::from_secs(10),
};
/// How long a task may take to see that the process ends.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Pace {
    /// The waits before a failed task is begun again.
    backoff: Backoff,
    /// A task that has run so long is well again, whatever it was before.
    steady: Duration,
}

/// A task by name, and how to begin it.
pub struct Task {
    service: String,
    name: String,
    begin: Box<dyn Fn(Part) -> Attempt + Send>,
}

impl Task {
    /// A task that `begin` starts, also after a failure. It should end when shutdown is requested.
    pub fn new<F, A>(name: impl Into<String>, begin: F) -> Self
    where
        F: Fn() -> A + Send + 'static,
        A: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self::telling(name, move |_| begin())
    }

    /// The same for a task that says by itself how it is: well as soon as it does what it should, halted when it
    /// cannot go on before somebody settles something.
    pub fn telling<F, A>(name: impl Into<String>, begin: F) -> Self
    where
        F: Fn(Part) -> A + Send + 'static,
        A: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self { service: String::new(), name: name.into(), begin: Box::new(move |part| Box::pin(begin(part))) }
    }

    /// The service that is not ready when this task keeps failing. Without one it is a task of the process, and no
    /// service here is ready then.
    #[must_use]
    pub fn of(self, service: &str) -> Self {
        Self { service: service.to_owned(), ..self }
    }

    /// The same, each attempt of which is what `gate` makes of it.
    #[must_use]
    pub fn through(self, gate: impl Fn(Attempt) -> Attempt + Send + 'static) -> Self {
        let begin = self.begin;
        Self { begin: Box::new(move |part| gate(begin(part))), ..self }
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Task({})", self.name)
    }
}

/// Runs the tasks until each has ended by itself or shutdown is requested. Failures and panics are logged and counted
/// (`trialog_task_failures_total`), and the task is begun again.
pub fn supervise(tasks: Vec<Task>, shutdown: &Shutdown, health: &Health) -> JoinSet<()> {
    supervise_at(&PACE, tasks, shutdown, health)
}

fn supervise_at(pace: &Pace, tasks: Vec<Task>, shutdown: &Shutdown, health: &Health) -> JoinSet<()> {
    let mut set = JoinSet::new();
    for task in tasks {
        let part = health.part(&task.service, &task.name);
        set.spawn(keep(task, part, pace.clone(), shutdown.clone()));
    }
    set
}

async fn keep(task: Task, part: Part, mut pace: Pace, shutdown: Shutdown) {
    let Task { name, begin, .. } = task;
    while !shutdown.is_requested() {
        let mut attempt = tokio::spawn(begin(part.clone()));
        let Some(ended) = watch(&mut attempt, &part, &mut pace, &shutdown).await else { return };
        let reason = match ended {
            Ok(Ok(())) => return part.ended(),
            Ok(Err(error)) => format!("{error:#}"),
            Err(error) => format!("broke: {error}"),
        };
        metrics::counter!("trialog_task_failures_total", "task" => name.clone()).increment(1);
        part.failed(&reason);
        tracing::error!(task = name, "begins again after a failure: {reason}");
        pace.backoff.wait_unless(&shutdown).await;
    }
}

/// How an attempt has ended; `None` when the process ends.
async fn watch(
    attempt: &mut JoinHandle<anyhow::Result<()>>,
    part: &Part,
    pace: &mut Pace,
    shutdown: &Shutdown,
) -> Option<Result<anyhow::Result<()>, JoinError>> {
    let mut steady = std::pin::pin!(tokio::time::sleep(pace.steady));
    let mut is_steady = false;
    loop {
        tokio::select! {
            ended = &mut *attempt => return Some(ended),
            () = &mut steady, if !is_steady => {
                is_steady = true;
                pace.backoff.reset();
                part.ran();
            }
            () = shutdown.requested() => {
                if tokio::time::timeout(GRACE, &mut *attempt).await.is_err() {
                    attempt.abort();
                }
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::health::FAILURES_MAX;

    const QUICK: Pace = Pace {
        backoff: Backoff::new(Duration::from_millis(1), Duration::from_millis(4)),
        steady: Duration::from_millis(100),
    };

    async fn until(condition: impl Fn() -> bool) {
        let waited = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waited).await.expect("it did not come to that");
    }

    /// A task that fails `failures` times, by panics and errors in turn, then waits for `well`, says so and stays.
    fn failing(failures: u32, well: &Arc<tokio::sync::Notify>) -> Task {
        let (begun, well) = (AtomicU32::new(0), Arc::clone(well));
        Task::telling("follow", move |part| {
            let (number, well) = (begun.fetch_add(1, Ordering::SeqCst), Arc::clone(&well));
            async move {
                match number {
                    number if number < failures && number % 2 == 0 => anyhow::bail!("as it should"),
                    number if number < failures => panic!("as it should"),
                    _ => {}
                }
                well.notified().await;
                part.well();
                std::future::pending().await
            }
        })
    }

    #[tokio::test]
    async fn a_task_that_keeps_failing_is_begun_again_and_makes_its_service_not_ready_until_it_is_well() {
        let pace = Pace { steady: Duration::from_secs(3_600), ..QUICK };
        let (health, shutdown, well) = (Health::new(), Shutdown::new(), Arc::new(tokio::sync::Notify::new()));
        let mut running = supervise_at(&pace, vec![failing(FAILURES_MAX, &well).of("runs")], &shutdown, &health);
        until(|| !health.unwell("runs").is_empty()).await;
        assert_eq!(health.unwell("runs")[0].part, "follow");
        assert!(health.unwell("sweeps").is_empty());
        // What it fails at is over.
        well.notify_one();
        until(|| health.unwell("runs").is_empty()).await;
        shutdown.request();
        while running.join_next().await.is_some() {}
    }

    #[tokio::test]
    async fn a_task_that_has_run_for_a_while_is_well_without_saying_so() {
        let (health, shutdown, begun) = (Health::new(), Shutdown::new(), Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&begun);
        let task = Task::new("keep", move || {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                anyhow::ensure!(number >= FAILURES_MAX, "as it should");
                std::future::pending().await
            }
        });
        let _running = supervise_at(&QUICK, vec![task.of("runs")], &shutdown, &health);
        until(|| health.unwell("runs").len() == 1).await;
        until(|| health.unwell("runs").is_empty()).await;
        assert_eq!(begun.load(Ordering::SeqCst), FAILURES_MAX + 1);
    }
}
