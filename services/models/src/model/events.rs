//! What can happen to a model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A file of a version, named by its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// Relative to the model's folder.
    pub path: String,
    /// SHA-256 in lower-case hex.
    pub sha256: String,
    /// Bytes.
    pub size_bytes: u64,
}

/// A version was registered; the first one makes the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionRegistered {
    /// The workspace.
    pub workspace: String,
    /// The model's name.
    pub model: String,
    /// From 1, dense.
    pub version: i64,
    /// `ver_…`.
    pub version_id: String,
    /// The run whose artifact it is.
    pub run_id: String,
    /// Where in the run's artifacts.
    pub artifact_path: String,
    /// Sorted by path.
    pub files: Vec<File>,
    /// SHA-256 over the sorted list of (path, sha256).
    pub content_sha256: String,
    /// Free text.
    pub description: String,
    /// Labels that may change.
    pub tags: BTreeMap<String, String>,
    /// Labels that may not.
    pub properties: BTreeMap<String, String>,
    /// Loading it runs code that came with it.
    pub executes_code: bool,
    /// The sweep of the run, if any.
    pub sweep_id: String,
    /// The trial of the run, if any.
    pub trial_index: Option<u32>,
    /// The code of the run, if any.
    pub code_sha256: String,
    /// Who registered it.
    pub by: String,
    /// When.
    pub at: jiff::Timestamp,
}

/// What may change about a version has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionChanged {
    /// The workspace.
    pub workspace: String,
    /// The model.
    pub model: String,
    /// Which version.
    pub version: i64,
    /// New text.
    pub description: Option<String>,
    /// Tags set.
    pub tags: BTreeMap<String, String>,
    /// Tags removed.
    pub remove_tags: Vec<String>,
    /// Properties added.
    pub properties: BTreeMap<String, String>,
    /// Hidden or shown again.
    pub is_archived: Option<bool>,
    /// When.
    pub at: jiff::Timestamp,
}

/// What may change about a model has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelChanged {
    /// New text.
    pub description: Option<String>,
    /// Tags set.
    pub tags: BTreeMap<String, String>,
    /// Tags removed.
    pub remove_tags: Vec<String>,
    /// Hidden or shown again.
    pub is_archived: Option<bool>,
    /// When.
    pub at: jiff::Timestamp,
}

/// An alias points elsewhere, or nowhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AliasChanged {
    /// The workspace.
    pub workspace: String,
    /// The model.
    pub model: String,
    /// Its name.
    pub alias: String,
    /// 0 = removed.
    pub version: i64,
    /// 0 = none.
    pub previous_version: i64,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
    /// When.
    pub at: jiff::Timestamp,
}

vocabulary::stored_events! {
    /// What can happen to a model.
    pub enum ModelEvent { VersionRegistered: 1, VersionChanged: 1, ModelChanged: 1, AliasChanged: 1 }
}

impl ModelEvent {
    /// When it happened.
    pub fn at(&self) -> jiff::Timestamp {
        match self {
            Self::VersionRegistered(event) => event.at,
            Self::VersionChanged(event) => event.at,
            Self::ModelChanged(event) => event.at,
            Self::AliasChanged(event) => event.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use testkit::StoredForms;

    use super::*;

    #[test]
    fn every_stored_form_means_what_it_meant() {
        // An upgrade that reads an old event as something else would lose registered models.
        let at = "2026-11-01T10:00:00Z".parse().unwrap();
        let (workspace, model) = ("default".to_owned(), "digits".to_owned());
        let mut forms = StoredForms::of(env!("CARGO_MANIFEST_DIR"));
        let registered = VersionRegistered {
            workspace: workspace.clone(),
            model: model.clone(),
            version: 1,
            version_id: "ver_01KB0000000000000000000000".into(),
            run_id: "run_01KB0000000000000000000000".into(),
            artifact_path: "outputs/model".into(),
            files: vec![File { path: "model.pkl".into(), sha256: "aa".into(), size_bytes: 12 }],
            content_sha256: "bb".into(),
            description: String::new(),
            tags: BTreeMap::new(),
            properties: BTreeMap::new(),
            executes_code: true,
            sweep_id: String::new(),
            trial_index: None,
            code_sha256: String::new(),
            by: "token:ab".into(),
            at,
        };
        forms.is::<ModelEvent>(1, registered);
        let changed = VersionChanged {
            workspace: workspace.clone(),
            model: model.clone(),
            version: 1,
            description: Some("good".into()),
            tags: [("a".to_owned(), "b".to_owned())].into(),
            remove_tags: vec!["c".into()],
            properties: BTreeMap::new(),
            is_archived: Some(true),
            at,
        };
        forms.is::<ModelEvent>(1, changed);
        let (tags, remove_tags, is_archived) = (BTreeMap::new(), Vec::new(), Some(false));
        forms.is::<ModelEvent>(1, ModelChanged { description: None, tags, remove_tags, is_archived, at });
        let alias = AliasChanged {
            workspace,
            model,
            alias: "champion".into(),
            version: 2,
            previous_version: 1,
            reason: "better".into(),
            by: "token:ab".into(),
            at,
        };
        forms.is::<ModelEvent>(1, alias);
        forms.complete();
    }
}
