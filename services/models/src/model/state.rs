//! The state of a model.
//!
//! ```text
//! absent -> exists <-> archived      version: registered <-> archived      alias: absent <-> points to a version
//! ```

use std::collections::BTreeMap;

use super::{AliasChanged, ModelEvent, VersionChanged, VersionRegistered};

/// A version as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// How it was registered, with what has changed since.
    pub registered: VersionRegistered,
    /// Hidden from lists.
    pub is_archived: bool,
}

/// A model as it stands; without versions it does not exist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Free text.
    pub description: String,
    /// Labels.
    pub tags: BTreeMap<String, String>,
    /// Hidden from lists.
    pub is_archived: bool,
    /// By number - 1.
    pub versions: Vec<Version>,
    /// Where each alias points.
    pub aliases: BTreeMap<String, i64>,
    /// Every change of an alias, oldest first.
    pub history: Vec<AliasChanged>,
}

impl Model {
    /// A version by its number.
    pub fn version(&self, number: i64) -> Option<&Version> {
        usize::try_from(number).ok().and_then(|number| self.versions.get(number.checked_sub(1)?))
    }

    /// The aliases that point to a version.
    pub fn aliases_of(&self, number: i64) -> Vec<String> {
        self.aliases.iter().filter(|(_, version)| **version == number).map(|(alias, _)| alias.clone()).collect()
    }

    pub(super) fn take(&mut self, event: &ModelEvent) {
        match event {
            ModelEvent::VersionRegistered(event) => {
                self.versions.push(Version { registered: event.clone(), is_archived: false });
            }
            ModelEvent::VersionChanged(event) => self.take_change(event),
            ModelEvent::ModelChanged(event) => {
                if let Some(text) = &event.description {
                    self.description.clone_from(text);
                }
                change_tags(&mut self.tags, &event.tags, &event.remove_tags);
                self.is_archived = event.is_archived.unwrap_or(self.is_archived);
            }
            ModelEvent::AliasChanged(event) => {
                if event.version == 0 {
                    self.aliases.remove(&event.alias);
                } else {
                    self.aliases.insert(event.alias.clone(), event.version);
                }
                self.history.push(event.clone());
            }
        }
    }

    fn take_change(&mut self, event: &VersionChanged) {
        let place = usize::try_from(event.version - 1).ok();
        let Some(version) = place.and_then(|place| self.versions.get_mut(place)) else { return };
        if let Some(text) = &event.description {
            version.registered.description.clone_from(text);
        }
        change_tags(&mut version.registered.tags, &event.tags, &event.remove_tags);
        version.registered.properties.extend(event.properties.clone());
        version.is_archived = event.is_archived.unwrap_or(version.is_archived);
    }
}

fn change_tags(tags: &mut BTreeMap<String, String>, set: &BTreeMap<String, String>, remove: &[String]) {
    for name in remove {
        tags.remove(name);
    }
    tags.extend(set.clone());
}
