//! Why a request gets no answer of a model: one table for every target.

use vocabulary::Problem;

/// Seconds after which trying again makes sense when all places are taken, or no replica is ready.
const RETRY_AFTER_SECONDS: u32 = 1;

/// What the model said when it failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelError {
    /// The status that it wants to be told.
    pub status: u16,
    /// In one word.
    pub reason: String,
    /// In full.
    pub error: String,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// Not the router's own word: the caller may not score, the body is too large.
    Refused(Problem),
    /// No table of routes has come yet.
    NoTable,
    /// 404.
    NoEndpoint { workspace: String, endpoint: String },
    /// 404.
    NoDeployment { name: String, endpoint: String, known: Vec<String> },
    /// 404.
    NoWeight { endpoint: String },
    /// 503.
    NothingReady { deployment: String },
    /// 429 at once.
    Saturated { deployment: String, most: u32 },
    /// 429 after a wait.
    QueuedTooLong { deployment: String, seconds: f64 },
    /// 408.
    TimedOut { deployment: String, seconds: f64 },
    /// 424.
    Model(ModelError),
    /// 424: replicas went away over this very content.
    Poisonous { deployment: String, replicas: u32, seconds: u32 },
    /// 500: a replica went away while it worked, and the request was not tried again or lost a second one.
    Lost { deployment: String, cause: String },
}

impl Failure {
    /// The deployment that the request was meant for, where it came so far.
    pub fn deployment(&self) -> Option<&str> {
        match self {
            Self::NothingReady { deployment }
            | Self::Saturated { deployment, .. }
            | Self::QueuedTooLong { deployment, .. }
            | Self::TimedOut { deployment, .. }
            | Self::Poisonous { deployment, .. }
            | Self::Lost { deployment, .. } => Some(deployment),
            Self::Refused(_)
            | Self::NoTable
            | Self::NoEndpoint { .. }
            | Self::NoDeployment { .. }
            | Self::NoWeight { .. }
            | Self::Model(_) => None,
        }
    }

    /// As clients see it.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Refused(problem) => problem.clone(),
            Self::NoTable => {
                Problem::unavailable("RoutesNotYet", "the routes have not arrived yet; try again", RETRY_AFTER_SECONDS)
            }
            Self::NoEndpoint { workspace, endpoint } => Problem::not_found("endpoint", endpoint, workspace),
            Self::NoDeployment { name, endpoint, known } => {
                let detail = format!("deployment '{name}' of endpoint '{endpoint}'; there are: {}", known.join(", "));
                Problem::new(404, "UnknownDeployment", detail)
            }
            Self::NoWeight { endpoint } => Problem::new(
                404,
                "NoTraffic",
                format!(
                    "no deployment of endpoint '{endpoint}' has traffic; set it, or name one in trialog-deployment"
                ),
            ),
            Self::NothingReady { deployment } => Problem::unavailable(
                "NotReady",
                format!("no replica of deployment '{deployment}' is ready"),
                RETRY_AFTER_SECONDS,
            ),
            Self::Saturated { deployment, most } => Problem::overloaded(
                format!("deployment '{deployment}' has {most} requests in flight, its limit; send fewer at a time"),
                RETRY_AFTER_SECONDS,
            ),
            Self::QueuedTooLong { deployment, seconds } => Problem::overloaded(
                format!(
                    "no replica of deployment '{deployment}' became free within {seconds} s (max_queue_wait_seconds)"
                ),
                RETRY_AFTER_SECONDS,
            ),
            Self::TimedOut { deployment, seconds } => Problem::new(
                408,
                "RequestTimeout",
                format!("deployment '{deployment}' did not answer within {seconds} s (request_timeout_seconds)"),
            ),
            Self::Model(error) => Problem::new(424, "ModelError", error.error.clone())
                .with("model_error_status", error.status)
                .with("model_error_reason", error.reason.clone()),
            Self::Poisonous { deployment, replicas, seconds } => Problem {
                retry_after_seconds: Some(*seconds),
                ..Problem::new(
                    424,
                    "PoisonRequest",
                    format!(
                        "{replicas} replicas of deployment '{deployment}' went away while they worked on this very \
                         content; it is not sent on for {seconds} s: change the input, or deploy a model that can \
                         take it"
                    ),
                )
            },
            Self::Lost { deployment, cause } => {
                Problem::new(500, "ReplicaLost", format!("replicas of deployment '{deployment}' broke off: {cause}"))
            }
        }
    }
}
