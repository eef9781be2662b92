//! Every stored form of an event that was ever written, compared with what it means.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vocabulary::StoredEvent;

/// The files of a service: `KIND.SCHEMA.json` in `testdata/events`.
pub struct StoredForms {
    folder: PathBuf,
    compared: BTreeSet<String>,
    /// Files that today's writer writes in another form.
    rewritten: BTreeSet<String>,
}

impl StoredForms {
    /// Of the service whose manifest lies in this folder.
    pub fn of(manifest: &str) -> Self {
        let folder = Path::new(manifest).join("testdata/events");
        Self { folder, compared: BTreeSet::new(), rewritten: BTreeSet::new() }
    }

    /// The file of this schema is read as this event; by the newest schema it is also the same after it was written
    /// and read, and [`Self::complete`] says whether it was written as it is stored.
    ///
    /// # Panics
    /// When it is not so.
    pub fn is<E: StoredEvent + Debug>(&mut self, schema: i16, event: impl Into<E>) {
        let event = event.into();
        let file = format!("{}.{schema}.json", event.kind());
        let text = std::fs::read_to_string(self.folder.join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let decoded = E::decode(event.kind(), schema, &text).unwrap_or_else(|error| panic!("{file}: {error}"));
        // As texts, which tell NaN from other numbers and are exact.
        assert_eq!(format!("{decoded:#?}"), format!("{event:#?}"), "{file}");
        if schema == event.schema() {
            let written = event.encode().unwrap_or_else(|error| panic!("{file}: {error}"));
            let again = E::decode(event.kind(), schema, &written).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(format!("{again:#?}"), format!("{event:#?}"), "{file}: it is written as {written}");
            let json = |text: &str| {
                serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{file}: no JSON, {error}: {text}"))
            };
            if json(&written) != json(&text) {
                self.rewritten.insert(file.clone());
            }
        }
        self.compared.insert(file);
    }

    /// Every file of the folder was compared, and the newest are written exactly as they are stored.
    ///
    /// # Panics
    /// When one was not.
    pub fn complete(self) {
        self.complete_but(&[]);
    }

    /// The same, but these files, and no others, are written in another form than they are stored in: with fields that
    /// were added with a default and without a new schema number, or with ids in their first spelling.
    ///
    /// # Panics
    /// When it is not so.
    pub fn complete_but(self, rewritten: &[&str]) {
        let files = std::fs::read_dir(&self.folder).unwrap_or_else(|error| panic!("{:?}: {error}", self.folder));
        let names = files.filter_map(|file| Some(file.ok()?.file_name().to_string_lossy().into_owned()));
        let left: Vec<_> = names.filter(|name| !self.compared.contains(name)).collect();
        assert!(left.is_empty(), "nothing is said about {left:?}");
        let allowed = rewritten.iter().map(|file| (*file).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(self.rewritten, allowed, "files that are written in another form");
    }
}
