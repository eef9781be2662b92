//! The way of one request: let in, wait for a place at a replica, ask it, and ask another one if it died without a
//! byte.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;
use vocabulary::Problem;

use crate::Inference;
use crate::choose::{Choice, choose};
use crate::failure::{Failure, ModelError};
use crate::frame::{AnswerHeader, Kind, NonFinite, RequestHeader};
use crate::guard::{Fingerprint, Verdict};
use crate::replica::{CallFailure, Replica};
use crate::table::{Deployment, Gate, Table};

/// Reasons of the built-in worker that are not the model's failure: the request is not what it takes, or came too late
/// to begin.
const BAD_REQUEST: &str = "BadRequest";
const UNSUPPORTED_MEDIA_TYPE: &str = "UnsupportedMediaType";
const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
/// The status of a model error that names none.
const MODEL_STATUS_DEFAULT: u16 = 500;
/// How long a request waits for a route that is not there: routes take milliseconds from compute to here.
const ROUTES_WAIT: Duration = Duration::from_millis(500);

/// What decides where a request goes; the same over all its tries.
#[derive(Debug)]
pub struct Aim {
    /// From the path.
    pub workspace: String,
    /// From the path.
    pub endpoint: String,
    /// From the header that picks a deployment.
    pub named: Option<String>,
    /// Drawn once, so that a request does not wander when the table changes.
    pub draw: u64,
}

/// A request's content.
#[derive(Debug)]
pub struct Content {
    /// What is asked.
    pub kind: Kind,
    /// As the client sent it.
    pub content_type: String,
    /// As the client sent it.
    pub body: Bytes,
    /// Whether it may be sent twice, as the client says; `None` = as the deployment has it.
    pub idempotent: Option<bool>,
    /// How the client takes NaN and infinities.
    pub non_finite: Option<NonFinite>,
}

impl Content {
    fn fingerprint(&self, deployment: &Deployment) -> Fingerprint {
        Fingerprint::of(deployment.revision_key, self.kind, &self.content_type, &self.body)
    }
}

/// Which deployment a request was given to, for the answer's headers.
#[derive(Clone, Debug)]
pub struct Served {
    /// The deployment.
    pub deployment: String,
    /// `name/3`.
    pub model_version: String,
    /// Says by itself which revision it was.
    pub request_id: String,
}

/// A model's answer.
#[derive(Debug)]
pub struct Answer {
    /// As the model said.
    pub content_type: String,
    /// The answer.
    pub body: Bytes,
}

/// A request that was let in; it counts until this goes.
pub struct Admitted(Arc<Gate>);

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// A place at a replica.
struct Place {
    replica: Arc<Replica>,
    deployment: Arc<Deployment>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.replica.leave();
        self.deployment.gate.freed.notify_one();
    }
}

impl Inference {
    fn choose(&self, table: &Table, aim: &Aim) -> Result<Arc<Deployment>, Failure> {
        let Some(endpoint) = table.find(&aim.workspace, &aim.endpoint) else {
            return Err(match *self.generation.borrow() {
                0 => Failure::NoTable,
                _ => Failure::NoEndpoint { workspace: aim.workspace.clone(), endpoint: aim.endpoint.clone() },
            });
        };
        match choose(endpoint, aim.named.as_deref(), aim.draw) {
            Choice::To(deployment) => Ok(Arc::clone(deployment)),
            Choice::NoWeight => Err(Failure::NoWeight { endpoint: aim.endpoint.clone() }),
            Choice::Unknown => Err(Failure::NoDeployment {
                name: aim.named.clone().unwrap_or_default(),
                endpoint: aim.endpoint.clone(),
                known: endpoint.deployments.iter().map(|deployment| deployment.name.clone()).collect(),
            }),
        }
    }

    /// Lets a request in, before its body is read, unless too many are in flight.
    ///
    /// # Errors
    /// 404, 429 or 503.
    pub fn admit(&self, aim: &Aim) -> Result<Admitted, Failure> {
        let deployment = self.choose(&self.table.load(), aim)?;
        let most = deployment.admitted_max;
        if !deployment.gate.admit(most) {
            return Err(Failure::Saturated { deployment: deployment.name.clone(), most });
        }
        Ok(Admitted(Arc::clone(&deployment.gate)))
    }

    /// As [`Inference::admit`]; what the table does not show is waited for a moment: compute may have acknowledged it
    /// while its routes are on their way, and who was told that traffic is set may ask at once.
    ///
    /// # Errors
    /// 404, 429 or 503.
    pub async fn admit_when_known(&self, aim: &Aim) -> Result<Admitted, Failure> {
        let mut tables = self.generation.subscribe();
        let known = async {
            loop {
                match self.admit(aim) {
                    Err(Failure::NoEndpoint { .. } | Failure::NoWeight { .. } | Failure::NoDeployment { .. }) => {}
                    other => return other,
                }
                if tables.changed().await.is_err() {
                    return self.admit(aim);
                }
            }
        };
        tokio::time::timeout(ROUTES_WAIT, known).await.unwrap_or_else(|_| self.admit(aim))
    }

    /// Whether the endpoint exists and, when it has weight, has a ready replica to go with it.
    ///
    /// # Errors
    /// 404 or 503.
    pub fn health(&self, aim: &Aim) -> Result<(), Failure> {
        match self.choose(&self.table.load(), aim) {
            Ok(deployment) if !deployment.is_ready() => {
                Err(Failure::NothingReady { deployment: deployment.name.clone() })
            }
            Ok(_) | Err(Failure::NoWeight { .. }) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Has the request answered. `served` is set as soon as a deployment has it.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn serve(
        &self,
        aim: &Aim,
        content: &Content,
        id: Uuid,
        served: &mut Option<Served>,
    ) -> Result<Answer, Failure> {
        let mut avoided = Vec::new();
        let mut was_silent = false;
        loop {
            let place = self.place(aim, &avoided).await?;
            let deployment = &place.deployment;
            let request_id = vocabulary::request_id::mint(deployment.revision_key, id);
            *served = Some(Served {
                deployment: deployment.name.clone(),
                model_version: deployment.model_version.clone(),
                request_id: request_id.clone(),
            });
            // Judged at the first try only: that a second one is allowed was decided then.
            let once = was_silent || self.may_be_sent_once_only(deployment, content)?;
            let failed = match self.ask(&place, content, request_id).await? {
                Ok((header, body)) => {
                    deployment.gate.guard.answered(|| content.fingerprint(deployment));
                    return answer(header, body, deployment);
                }
                Err(failed) => failed,
            };
            let name = || deployment.name.clone();
            let key = &place.replica.key;
            match failed {
                CallFailure::Torn(error) => {
                    self.blame(deployment, content);
                    return Err(Failure::Lost { deployment: name(), cause: error.to_string() });
                }
                CallFailure::Silent(error) => {
                    tracing::warn!(deployment = name(), replica = key, "a replica went away at work: {error}");
                    self.blame(deployment, content);
                    if once {
                        return Err(Failure::Lost { deployment: name(), cause: error.to_string() });
                    }
                    was_silent = true;
                }
                // Nothing was sent, so every other replica may be tried; this one was the last.
                CallFailure::Unreachable(error) if avoided.contains(key) => {
                    tracing::warn!(deployment = name(), replica = key, "no replica is reachable: {error}");
                    return Err(Failure::NothingReady { deployment: name() });
                }
                CallFailure::Unreachable(error) => {
                    tracing::warn!(deployment = name(), replica = key, "a replica is unreachable: {error}");
                }
            }
            avoided.push(key.clone());
        }
    }

    /// Whether the request must not be tried again once a replica has had it.
    fn may_be_sent_once_only(&self, deployment: &Deployment, content: &Content) -> Result<bool, Failure> {
        let now_us = self.dependencies.clock.now_us();
        match deployment.gate.guard.judge(|| content.fingerprint(deployment), now_us) {
            Verdict::Clear => Ok(!content.idempotent.unwrap_or(deployment.idempotent)),
            Verdict::Suspect => Ok(true),
            Verdict::Refused { replicas, seconds } => {
                Err(Failure::Poisonous { deployment: deployment.name.clone(), replicas, seconds })
            }
        }
    }

    /// A replica went away while it had the request.
    fn blame(&self, deployment: &Deployment, content: &Content) {
        deployment.gate.guard.died(content.fingerprint(deployment), self.dependencies.clock.now_us());
    }

    async fn ask(
        &self,
        place: &Place,
        content: &Content,
        request_id: String,
    ) -> Result<Result<(AnswerHeader, Bytes), CallFailure>, Failure> {
        let deployment = &place.deployment;
        let header = RequestHeader {
            id: request_id,
            kind: content.kind,
            deadline_ms: u64::try_from(deployment.timeout.as_millis()).unwrap_or(u64::MAX),
            content_type: content.content_type.clone(),
            non_finite: content.non_finite,
            length: content.body.len(),
        };
        let now_us = self.dependencies.clock.now_us();
        let call = place.replica.call(&header, &content.body, deployment.concurrent, now_us);
        tokio::time::timeout(deployment.timeout, call).await.map_err(|_| timed_out(deployment))
    }

    /// A place at a replica; waits for one, at most as long as the deployment lets requests wait.
    async fn place(&self, aim: &Aim, avoided: &[String]) -> Result<Place, Failure> {
        let mut tables = self.generation.subscribe();
        let mut deadline = None;
        loop {
            tables.borrow_and_update();
            let deployment = self.choose(&self.table.load(), aim)?;
            let gate = Arc::clone(&deployment.gate);
            let freed = gate.freed.notified();
            tokio::pin!(freed);
            // From here on a place that becomes free is not missed.
            freed.as_mut().enable();
            if let Some(replica) = deployment.take_place(avoided, self.dependencies.clock.now_us()) {
                return Ok(Place { replica, deployment });
            }
            let wait = deployment.queue_wait;
            let deadline = deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(wait)));
            tokio::select! {
                () = freed => {}
                _ = tables.changed() => {}
                () = deadline => return Err(overdue(&deployment, wait)),
            }
        }
    }
}

fn overdue(deployment: &Deployment, wait: Duration) -> Failure {
    let name = deployment.name.clone();
    if deployment.is_ready() {
        Failure::QueuedTooLong { deployment: name, seconds: wait.as_secs_f64() }
    } else {
        Failure::NothingReady { deployment: name }
    }
}

fn answer(header: AnswerHeader, body: Bytes, deployment: &Deployment) -> Result<Answer, Failure> {
    if header.status == "ok" {
        let content_type = header.content_type.filter(|text| !text.is_empty());
        return Ok(Answer { content_type: content_type.unwrap_or_else(|| "application/json".to_owned()), body });
    }
    let reason = header.reason.unwrap_or_else(|| "ModelError".to_owned());
    if reason == DEADLINE_EXCEEDED {
        return Err(timed_out(deployment));
    }
    let error = header.error.unwrap_or_else(|| "the model failed without a message".to_owned());
    // What the caller has to mend is no failure of the model: it must not raise an alarm, nor be tried again.
    let is_callers = match reason.as_str() {
        BAD_REQUEST => Some(400),
        UNSUPPORTED_MEDIA_TYPE => Some(415),
        _ => None,
    };
    if let Some(status) = is_callers {
        return Err(Failure::Refused(Problem::new(status, reason, error)));
    }
    let status = header.code.unwrap_or(MODEL_STATUS_DEFAULT);
    Err(Failure::Model(ModelError { status, reason, error }))
}

fn timed_out(deployment: &Deployment) -> Failure {
    Failure::TimedOut { deployment: deployment.name.clone(), seconds: deployment.timeout.as_secs_f64() }
}
