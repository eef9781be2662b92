//! Reads that a process answers by itself whose logs another one writes: from the database that both reach.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventlog::{Error, EventLog};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::service::Routes;
use tower::ServiceExt;

/// Services whose logs were opened for reading. They are of no use any more when somebody else has begun to write one
/// of these logs.
#[derive(Clone)]
pub struct Reads {
    routes: Routes,
    logs: Arc<BTreeMap<String, EventLog>>,
    are_over: Arc<AtomicBool>,
}

impl Reads {
    /// Of services with these logs.
    pub fn new(routes: Routes, logs: Vec<EventLog>) -> Self {
        let name = |log: &EventLog| log.source().split('@').next().unwrap_or_default().to_owned();
        let logs = logs.into_iter().map(|log| (name(&log), log)).collect();
        Self { routes, logs: Arc::new(logs), are_over: Arc::default() }
    }

    /// Whether they have to be opened anew.
    pub fn are_over(&self) -> bool {
        self.are_over.load(Ordering::Relaxed)
    }

    /// Answers a read, after a look at how far its log has come by now; gives the request back that is none, or cannot
    /// be answered here at the moment.
    pub async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, Request<Body>> {
        let path = request.uri().path();
        let log = service_of(path).and_then(|service| self.logs.get(service));
        let Some(log) = log.filter(|_| contracts::READS.contains(&path)) else { return Err(request) };
        match log.catch_up().await {
            Ok(()) => Ok(self.routes.clone().oneshot(request).await.unwrap_or_else(|never| match never {})),
            Err(error) => {
                if matches!(error, Error::NotYet { .. }) {
                    self.are_over.store(true, Ordering::Relaxed);
                }
                Err(request)
            }
        }
    }
}

/// `sweeps` of `/trialog.sweeps.v1.SweepsService/GetSweep`.
fn service_of(path: &str) -> Option<&str> {
    path.strip_prefix("/trialog.")?.split('.').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_read_is_of_a_service() {
        assert!(!contracts::READS.is_empty());
        for path in contracts::READS {
            let service = service_of(path).unwrap_or_default();
            assert!(crate::server::plan::SERVICES.contains(&service), "{path}");
        }
    }
}
