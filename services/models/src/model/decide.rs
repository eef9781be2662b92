//! What may happen to a model.

use std::collections::BTreeMap;

use vocabulary::{Decider, Problem};

use super::{AliasChanged, Model, ModelChanged, ModelEvent, VersionChanged, VersionRegistered};

/// What may be changed about a model or one of its versions.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// New text.
    pub description: Option<String>,
    /// Tags to set.
    pub tags: BTreeMap<String, String>,
    /// Tags to remove.
    pub remove_tags: Vec<String>,
    /// Properties to add; versions only.
    pub properties: BTreeMap<String, String>,
    /// Hide or show again.
    pub is_archived: Option<bool>,
}

/// What somebody wants of a model.
#[derive(Clone, Debug)]
pub enum Command {
    /// A new version; the number is given by the decider.
    Register(Box<VersionRegistered>),
    /// A change of a version.
    ChangeVersion {
        /// The workspace.
        workspace: String,
        /// The model.
        model: String,
        /// Which.
        version: i64,
        /// What.
        change: Change,
        /// Now.
        at: jiff::Timestamp,
    },
    /// A change of the model.
    ChangeModel {
        /// What.
        change: Change,
        /// Now.
        at: jiff::Timestamp,
    },
    /// An alias to point to `version`, or nowhere when that is 0; `previous_version` is filled in by the decider.
    PointAlias(AliasChanged),
}

/// Why it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No such model.
    ModelAbsent,
    /// No such version.
    VersionAbsent {
        /// What was asked for.
        version: i64,
        /// The newest there is.
        latest: i64,
    },
    /// No such alias.
    AliasAbsent(String),
    /// The version is archived.
    VersionArchived(i64),
    /// A property has another value.
    PropertyFixed(String),
    /// With what was added it would have too many tags or properties.
    TooManyTexts {
        /// Tags or properties.
        field: &'static str,
        /// What is too much.
        surplus: String,
    },
}

/// Refuses what would make it too large to be shown, however little each change adds.
fn fits(
    field: &'static str,
    added: &BTreeMap<String, String>,
    all: &BTreeMap<String, String>,
) -> Result<(), Rejection> {
    match documents::texts::surplus(all) {
        Some(surplus) if !added.is_empty() => Err(Rejection::TooManyTexts { field, surplus }),
        _ => Ok(()),
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::ModelAbsent => Self::new(404, "NotFound", "this model has no version in this workspace"),
            Rejection::VersionAbsent { version, latest } => {
                Self::new(404, "NotFound", format!("version {version}; the versions are 1..={latest}"))
            }
            Rejection::AliasAbsent(alias) => Self::new(404, "NotFound", format!("alias '{alias}' of this model")),
            Rejection::VersionArchived(version) => {
                Self::conflict("VersionArchived", format!("version {version} is archived; show it again first"))
            }
            Rejection::PropertyFixed(name) => Self::conflict(
                "PropertyFixed",
                format!("property '{name}' has a value; properties can be added, never changed: use a tag"),
            ),
            Rejection::TooManyTexts { field, surplus } => {
                Self::invalid(&format!("/{field}"), "TooLarge", format!("with these {field} there are {surplus}"))
            }
        }
    }
}

impl Model {
    fn existing(&self, version: i64) -> Result<&super::Version, Rejection> {
        if self.versions.is_empty() {
            return Err(Rejection::ModelAbsent);
        }
        let latest = self.versions.len() as i64;
        self.version(version).ok_or(Rejection::VersionAbsent { version, latest })
    }

    fn change_version(
        &self,
        workspace: &str,
        model: &str,
        version: i64,
        change: &Change,
        at: jiff::Timestamp,
    ) -> Result<Vec<ModelEvent>, Rejection> {
        let current = self.existing(version)?;
        let mut properties = BTreeMap::new();
        for (name, value) in &change.properties {
            match current.registered.properties.get(name) {
                Some(kept) if kept == value => {}
                Some(_) => return Err(Rejection::PropertyFixed(name.clone())),
                None => {
                    properties.insert(name.clone(), value.clone());
                }
            }
        }
        let event = VersionChanged {
            workspace: workspace.to_owned(),
            model: model.to_owned(),
            version,
            description: change.description.clone().filter(|text| *text != current.registered.description),
            tags: change.tags.clone(),
            remove_tags: change.remove_tags.clone(),
            properties,
            is_archived: change.is_archived.filter(|archived| *archived != current.is_archived),
            at,
        };
        let mut after = self.clone();
        after.take(&event.clone().into());
        if let Some(version) = after.version(version) {
            fits("tags", &event.tags, &version.registered.tags)?;
            fits("properties", &event.properties, &version.registered.properties)?;
        }
        Ok(if after == *self { Vec::new() } else { vec![event.into()] })
    }

    fn point(&self, wish: &AliasChanged) -> Result<Vec<ModelEvent>, Rejection> {
        let previous = self.aliases.get(&wish.alias).copied().unwrap_or_default();
        if wish.version == 0 {
            if self.versions.is_empty() {
                return Err(Rejection::ModelAbsent);
            }
            if previous == 0 {
                return Err(Rejection::AliasAbsent(wish.alias.clone()));
            }
        } else if self.existing(wish.version)?.is_archived {
            return Err(Rejection::VersionArchived(wish.version));
        }
        if previous == wish.version {
            return Ok(Vec::new());
        }
        Ok(vec![AliasChanged { previous_version: previous, ..wish.clone() }.into()])
    }
}

impl Decider for Model {
    type Command = Command;
    type Event = ModelEvent;
    type Rejection = Rejection;

    fn decide(&self, command: &Command) -> Result<Vec<ModelEvent>, Rejection> {
        match command {
            Command::Register(wish) => {
                let version = self.versions.len() as i64 + 1;
                Ok(vec![VersionRegistered { version, ..(**wish).clone() }.into()])
            }
            Command::ChangeVersion { workspace, model, version, change, at } => {
                self.change_version(workspace, model, *version, change, *at)
            }
            Command::ChangeModel { change, at } => {
                if self.versions.is_empty() {
                    return Err(Rejection::ModelAbsent);
                }
                let event = ModelChanged {
                    description: change.description.clone(),
                    tags: change.tags.clone(),
                    remove_tags: change.remove_tags.clone(),
                    is_archived: change.is_archived,
                    at: *at,
                };
                let mut after = self.clone();
                after.take(&event.clone().into());
                fits("tags", &event.tags, &after.tags)?;
                Ok(if after == *self { Vec::new() } else { vec![event.into()] })
            }
            Command::PointAlias(wish) => self.point(wish),
        }
    }

    fn evolve(&mut self, event: &ModelEvent) {
        self.take(event);
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
