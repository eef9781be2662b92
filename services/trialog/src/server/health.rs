//! Answers how the services of this process are, and ends the process when one of their logs cannot be written any
//! more.

use std::collections::BTreeSet;

use contracts::health::health_service_server::HealthService;
use contracts::health::{CheckReply, CheckRequest, MeasureReply, MeasureRequest, UnreadyPart};
use eventlog::{EventLog, Store};
use runtime::{Health, Shutdown};
use tonic::{Request, Response, Status};
use vocabulary::Problem;

use super::measures::Measures;

/// The health of the services that run here.
pub struct HealthServer {
    health: Health,
    services: BTreeSet<String>,
    measures: Measures,
}

impl HealthServer {
    /// Answers for `services`.
    pub fn new(health: Health, services: &[String], measures: Measures) -> Self {
        Self { health, services: services.iter().cloned().collect(), measures }
    }

    /// 404 for a service that does not run here.
    fn check_here(&self, service: &str) -> Result<(), Status> {
        if self.services.contains(service) {
            return Ok(());
        }
        let here: Vec<_> = self.services.iter().map(String::as_str).collect();
        let detail = format!("no service '{service}' here; here are: {}", here.join(", "));
        Err(contracts::status_of(&Problem::new(404, "NotFound", detail)))
    }
}

#[tonic::async_trait]
impl HealthService for HealthServer {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckReply>, Status> {
        let CheckRequest { service } = request.into_inner();
        self.check_here(&service)?;
        let unready = self.health.unwell(&service).into_iter();
        let unready = unready.map(|unwell| UnreadyPart { part: unwell.part, reason: unwell.reason });
        Ok(Response::new(CheckReply { unready: unready.collect() }))
    }

    async fn measure(&self, request: Request<MeasureRequest>) -> Result<Response<MeasureReply>, Status> {
        let MeasureRequest { service } = request.into_inner();
        self.check_here(&service)?;
        Ok(Response::new(MeasureReply { families: self.measures.of(&service).await }))
    }
}

/// Watches the writer of a service's log. One that ends by itself accepts nothing ever again, so its process ends with
/// a failure: whoever runs it starts it anew, and what the disk holds is looked at then.
pub fn watch_writer(service: &'static str, store: Store, log: EventLog, shutdown: Shutdown, health: &Health) {
    let part = health.part(service, "writer");
    tokio::spawn(async move {
        match log.ended().await {
            Ok(()) => part.ended(),
            Err(error) => {
                let reason = format!("the writer of {service} has ended: {error}; its database is {store}");
                part.halted(&reason);
                shutdown.fail(reason);
            }
        }
    });
}
