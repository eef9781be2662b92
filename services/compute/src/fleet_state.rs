//! The fleet that the scheduler plans with, shared by all that look at it or change it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cluster::Cluster;
use crate::commands::Commands;
use crate::job::{self, Job};
use crate::node_events::NodeEvents;
use crate::scheduler::Fleet;
use crate::views;
use tokio::sync::{Notify, watch};
use tonic::Status;
use vocabulary::Problem;

/// How long a call waits until the fleet has taken in what was just written: the scheduler's task is never busy for
/// longer.
const FOLD_WAIT: Duration = Duration::from_secs(2);

/// What was read, or why it can never be; the rest must go on without it.
fn readable<T>(found: Result<T, eventlog::Error>) -> Result<Result<T, String>, eventlog::Error> {
    match found {
        Ok(found) => Ok(Ok(found)),
        Err(error) if error.problem().passes_by_itself() => Err(error),
        Err(error) => Ok(Err(format!("its history cannot be read: {error}"))),
    }
}

/// See the module.
pub(crate) struct FleetState {
    fleet: Mutex<Fleet>,
    /// Whether it was loaded and nobody has begun to fold it since.
    is_fresh: AtomicBool,
    /// What was said of nodes and is not recorded yet.
    pub reported: NodeEvents,
    /// The position that the fleet was folded to.
    pub folded: watch::Sender<i64>,
    /// Something beside the log has changed that the scheduler looks at.
    pub wake: Notify,
}

impl FleetState {
    /// Empty; see [`FleetState::load`].
    pub fn new() -> Self {
        Self {
            fleet: Mutex::default(),
            is_fresh: AtomicBool::new(false),
            reported: NodeEvents::default(),
            folded: watch::Sender::new(0),
            wake: Notify::new(),
        }
    }

    /// The fleet. Held for a look or a change in memory only, never over a wait.
    pub fn lock(&self) -> MutexGuard<'_, Fleet> {
        // After a panic in a change the engine loads the fleet anew.
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the fleet may be folded on from where it stands: nobody who began that has broken off.
    pub fn begin(&self) -> bool {
        self.is_fresh.swap(false, Ordering::Relaxed)
    }

    /// Reads the fleet from the log: all clusters, and the jobs that are not over. No agent is connected in it: what
    /// the events up to here mean for agents is not sent, and each learns it when it connects. `cut` ends the
    /// connections that there are, as nobody can look at the fleet.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn load(&self, commands: &Commands, cut: impl FnOnce()) -> Result<(), eventlog::Error> {
        let mut fleet = Fleet::default();
        fleet.position = *commands.log.head().borrow();
        let now_us = commands.clock.now_us();
        for name in views::cluster_names(commands.log.reader()).await? {
            let look = |cluster: &Cluster, version| (cluster.clone(), version);
            match readable(commands.log.inspect(&name.stream(), look).await)? {
                Ok((cluster, version)) => fleet.load_cluster(name, cluster, version, now_us),
                Err(why) => {
                    tracing::error!(workspace = name.workspace, cluster = name.name, "it is left alone: {why}");
                    fleet.leave_cluster(name, why);
                }
            }
        }
        for (job_id, order) in views::live_jobs(commands.log.reader()).await? {
            let look = |job: &Job, version| (job.clone(), version);
            match readable(commands.log.inspect(&job::stream(job_id), look).await)? {
                Ok((job, version)) => fleet.load_job(job_id, job, version, order),
                Err(why) => {
                    tracing::error!(job.id = %job_id, "it is left alone: {why}");
                    fleet.leave_job(job_id, why);
                }
            }
        }
        let position = fleet.position;
        {
            let mut held = self.lock();
            cut();
            *held = fleet;
        }
        self.is_fresh.store(true, Ordering::Relaxed);
        self.folded.send_replace(position);
        Ok(())
    }

    /// Waits until the fleet has taken in a position of the log.
    ///
    /// # Errors
    /// 503 when it does not in time.
    pub async fn caught_up(&self, position: i64) -> Result<(), Status> {
        let mut folded = self.folded.subscribe();
        let reached = tokio::time::timeout(FOLD_WAIT, folded.wait_for(|at| *at >= position)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            _ => {
                let behind = "the scheduler is behind; try again";
                Err(contracts::status_of(&Problem::unavailable("LogUnavailable", behind, 1)))
            }
        }
    }
}
