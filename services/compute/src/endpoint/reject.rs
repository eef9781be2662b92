//! Why a wish about an endpoint is refused, and how users are told.

use vocabulary::{FieldError, Problem};

/// Deployments of an endpoint.
pub(super) const DEPLOYMENTS_MAX: usize = 20;

/// Why it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No such endpoint.
    Absent,
    /// No such deployment.
    DeploymentAbsent(String),
    /// It is being deleted.
    Deleting(String),
    /// A revision is on its way.
    Busy(String),
    /// The model version was taken out of use.
    VersionArchived {
        /// The model.
        model: String,
        /// Its number.
        version: i64,
    },
    /// It has traffic.
    InUse {
        /// The deployment.
        deployment: String,
        /// Percent.
        percent: u32,
    },
    /// The shares do not sum to 0 or 100.
    BadSum(u32),
    /// Traffic for a deployment that does not exist.
    UnknownDeployment(Vec<String>),
    /// As many deployments as an endpoint may have.
    TooManyDeployments,
    /// The report or request is about a replica or revision that is not wanted any more.
    Outdated,
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Absent => Self::new(404, "NotFound", "there is no such endpoint in this workspace"),
            Rejection::DeploymentAbsent(name) => {
                Self::new(404, "NotFound", format!("deployment '{name}' of this endpoint"))
            }
            Rejection::Deleting(what) => {
                Self::conflict("OperationInProgress", format!("{what} is being deleted; wait until it is gone"))
            }
            Rejection::Busy(name) => Self::conflict(
                "OperationInProgress",
                format!("deployment '{name}' is being updated; wait until it has succeeded or failed, or delete it"),
            ),
            Rejection::VersionArchived { model, version } => Self::conflict(
                "VersionArchived",
                format!(
                    "version {version} of model '{model}' is archived; take it back (is_archived: false), or deploy \
                     another one"
                ),
            ),
            Rejection::InUse { deployment, percent } => Self::conflict(
                "DeploymentInUse",
                format!("deployment '{deployment}' has {percent} percent of the traffic; set its share to 0 first"),
            ),
            Rejection::BadSum(sum) => Self::invalid(
                "/traffic",
                "BadTraffic",
                format!("traffic: the shares sum to {sum}; they must sum to 0 or 100"),
            ),
            Rejection::UnknownDeployment(names) => {
                let error = |name: &String| {
                    let message = format!("traffic: there is no deployment '{name}'");
                    FieldError::new(format!("/traffic/{name}"), "UnknownDeployment", message)
                };
                Self::of_errors(422, names.iter().map(error).collect())
            }
            Rejection::TooManyDeployments => Self::conflict(
                "QuotaExceeded",
                format!("an endpoint has at most {DEPLOYMENTS_MAX} deployments; delete one first"),
            )
            .with("limit", DEPLOYMENTS_MAX),
            Rejection::Outdated => Self::conflict("Outdated", "the replica is not wanted any more"),
        }
    }
}
