//! Endpoints' events as public facts.

use contracts::compute as wire;
use eventlog::RecordedEvent;
use feed::Publication;

use crate::endpoint::EndpointEvent;
use crate::views::endpoints::names_of;

/// The fact of an endpoint's event; `None` keeps it private.
///
/// # Errors
/// When the event cannot be decoded.
pub(crate) fn publish(event: &RecordedEvent) -> Result<Option<Publication>, String> {
    let (workspace, endpoint) = names_of(&event.stream);
    let changed = |state: &str| {
        let fact = wire::EndpointChanged {
            workspace: workspace.to_owned(),
            endpoint: endpoint.to_owned(),
            provisioning_state: state.to_owned(),
        };
        Some(Publication::new("EndpointChanged", &fact))
    };
    Ok(match event.decode::<EndpointEvent>().map_err(|error| error.to_string())? {
        EndpointEvent::EndpointCreated(_) | EndpointEvent::EndpointChanged(_) | EndpointEvent::TrafficSet(_) => {
            changed("Succeeded")
        }
        EndpointEvent::EndpointDeleting(_) | EndpointEvent::EndpointDeleted(_) => changed("Deleting"),
        EndpointEvent::DeploymentRevised(revised) => {
            let fact = wire::DeploymentRevised {
                workspace: revised.workspace,
                endpoint: revised.endpoint,
                deployment: revised.deployment,
                revision: revised.revision,
                model: revised.model.model,
                model_version: revised.model.version,
            };
            Some(Publication::new("DeploymentRevised", &fact))
        }
        _ => None,
    })
}
