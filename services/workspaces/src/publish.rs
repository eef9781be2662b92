//! Private events to public facts.

use contracts::workspaces as wire;
use eventlog::RecordedEvent;
use feed::{Publication, Publish};

use crate::workspace::{STREAM, WorkspaceEvent};

/// The map of this service.
pub struct Publisher;

impl Publish for Publisher {
    fn publish(&self, event: &RecordedEvent) -> Result<Option<Publication>, String> {
        let fact = match event.decode::<WorkspaceEvent>().map_err(|error| error.to_string())? {
            WorkspaceEvent::WorkspaceCreated(event) => {
                Publication::new("WorkspaceCreated", &wire::WorkspaceCreated { name: event.name })
            }
            WorkspaceEvent::WorkspaceDeleted(_) => {
                let name = event.stream.strip_prefix(STREAM).unwrap_or_default().to_owned();
                Publication::new("WorkspaceDeleted", &wire::WorkspaceDeleted { name })
            }
            WorkspaceEvent::TokenCreated(event) => Publication::new(
                "TokenCreated",
                &wire::TokenCreated {
                    token_id: event.token_id,
                    sha256: event.sha256,
                    scope: event.scope,
                    workspace: event.workspace,
                    endpoint: event.endpoint,
                    name: event.name,
                    expires_at_us: event.expires_at.map_or(0, jiff::Timestamp::as_microsecond),
                },
            ),
            WorkspaceEvent::TokenRevoked(event) => {
                Publication::new("TokenRevoked", &wire::TokenRevoked { token_id: event.token_id })
            }
        };
        Ok(Some(fact))
    }
}
