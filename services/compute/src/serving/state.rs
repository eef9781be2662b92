//! What the process knows of endpoints beside the log; all of it can be made anew.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contracts::compute::RouteTable;
use tokio::sync::watch;

use super::logs::ReplicaLogs;

/// Clones share everything.
#[derive(Clone)]
pub(crate) struct ServingState {
    /// The table of routes; `None` until the log has been looked at.
    pub routes: Arc<watch::Sender<Option<Arc<RouteTable>>>>,
    /// What replicas write.
    pub logs: Arc<ReplicaLogs>,
    /// The endpoint stream that a replica's job belongs to.
    replicas: Arc<Mutex<HashMap<String, String>>>,
}

impl ServingState {
    /// Knows nothing yet; logs of replicas are kept in `endpoint-logs` below the data folder.
    pub fn new(data: &Path) -> Self {
        Self {
            routes: Arc::new(watch::Sender::new(None)),
            logs: Arc::new(ReplicaLogs::new(data.join("endpoint-logs"))),
            replicas: Arc::default(),
        }
    }

    fn replicas(&self) -> MutexGuard<'_, HashMap<String, String>> {
        // The map is whole after every statement that changes it.
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The endpoint that a job is a replica of.
    pub fn endpoint_of(&self, job_id: &str) -> Option<String> {
        self.replicas().get(job_id).cloned()
    }

    /// The streams of the endpoints that have replicas.
    pub fn endpoints(&self) -> BTreeSet<String> {
        self.replicas().values().cloned().collect()
    }

    /// Remembers a replica's endpoint.
    pub fn remember(&self, job_id: &str, stream: &str) {
        self.replicas().insert(job_id.to_owned(), stream.to_owned());
    }

    /// Forgets what is no replica of an endpoint any more.
    pub fn retain(&self, stream: &str, is_replica: impl Fn(&str) -> bool) {
        self.replicas().retain(|job_id, of| of != stream || is_replica(job_id));
    }

    /// Puts a table of routes in force if it is another one.
    pub fn put_routes(&self, table: RouteTable) {
        self.routes.send_if_modified(|known| {
            let is_news = known.as_deref() != Some(&table);
            if is_news {
                *known = Some(Arc::new(table));
            }
            is_news
        });
    }
}
