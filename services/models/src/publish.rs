//! Private events to public facts.

use contracts::models as wire;
use eventlog::RecordedEvent;
use feed::{Publication, Publish};

use crate::model::ModelEvent;

/// The map of this service.
pub struct Publisher;

impl Publish for Publisher {
    fn publish(&self, event: &RecordedEvent) -> Result<Option<Publication>, String> {
        Ok(match event.decode::<ModelEvent>().map_err(|error| error.to_string())? {
            ModelEvent::VersionRegistered(event) => Some(Publication::new(
                "VersionRegistered",
                &wire::VersionRegistered {
                    workspace: event.workspace,
                    model: event.model,
                    version: event.version,
                    version_id: event.version_id,
                    run_id: event.run_id,
                    sweep_id: event.sweep_id,
                },
            )),
            ModelEvent::AliasChanged(event) => Some(Publication::new(
                "AliasChanged",
                &wire::AliasChanged {
                    workspace: event.workspace,
                    model: event.model,
                    alias: event.alias,
                    version: event.version,
                },
            )),
            ModelEvent::VersionChanged(event) => event.is_archived.map(|is_archived| {
                let fact = wire::VersionArchived {
                    workspace: event.workspace,
                    model: event.model,
                    version: event.version,
                    is_archived,
                };
                Publication::new("VersionArchived", &fact)
            }),
            ModelEvent::ModelChanged(_) => None,
        })
    }
}
