//! Facts as JSON: which message a type names.

use contracts::feed::Fact;
use contracts::{compute, models, runs, sweeps};
use prost::Message;
use serde_json::Value;

use crate::door::Service;

macro_rules! readers {
    ($($service:ident: $module:ident { $($message:ident),+ $(,)? })+) => {
        /// The fact's message as JSON; `None` for types that are not shown.
        pub fn readable(service: Service, fact: &Fact) -> Option<Value> {
            match (service, fact.r#type.as_str()) {
                $($((Service::$service, stringify!($message)) => {
                    let message = $module::$message::decode(fact.payload.as_slice()).ok()?;
                    serde_json::to_value(message).ok()
                })+)+
                _ => None,
            }
        }
    };
}

// Facts of workspaces stay inside: they carry the hashes of tokens.
readers! {
    Compute: compute {
        ClusterChanged, NodeChanged, JobQueued, JobPlaced, JobPhaseChanged, JobRequeued, JobEnded, DeploymentRevised,
        EndpointChanged,
    }
    Models: models { VersionRegistered, AliasChanged, VersionArchived }
    Runs: runs {
        ExperimentCreated, RunCreated, RunStateChanged, RunStopRequested, MetricReported, MetricNameSeen, RunEnded,
        RunRelabelled, RunDeleted, ArtifactsRecorded,
    }
    Sweeps: sweeps {
        SweepSubmitted, SweepStateChanged, TrialProposed, TrialStopRequested, TrialEnded, SweepWarned, SweepDeleted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_shown_by_their_type() {
        let message =
            sweeps::SweepStateChanged { workspace: "lab".into(), state: "Paused".into(), ..Default::default() };
        let fact = Fact { r#type: "SweepStateChanged".into(), payload: message.encode_to_vec(), ..Fact::default() };
        assert_eq!(readable(Service::Sweeps, &fact).unwrap()["state"], "Paused");
        assert_eq!(readable(Service::Runs, &fact), None);
        assert_eq!(readable(Service::Workspaces, &Fact { r#type: "TokenCreated".into(), ..fact }), None);
    }
}
