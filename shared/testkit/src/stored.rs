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
}

impl StoredForms {
    /// Of the service whose manifest lies in this folder.
    pub fn of(manifest: &str) -> Self {
        Self { folder: Path::new(manifest).join("testdata/events"), compared: BTreeSet::new() }
    }

    /// The file of this schema is read as this event, and by the newest schema nothing of the file is lost when the
    /// event is written.
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
            let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
            assert!(says(&json(&written), &json(&text)), "{file}: it is not written as it is stored: {written}");
        }
        self.compared.insert(file);
    }

    /// Every file of the folder was compared.
    ///
    /// # Panics
    /// When one was not.
    pub fn complete(self) {
        let files = std::fs::read_dir(&self.folder).unwrap_or_else(|error| panic!("{:?}: {error}", self.folder));
        let names = files.filter_map(|file| Some(file.ok()?.file_name().to_string_lossy().into_owned()));
        let left: Vec<_> = names.filter(|name| !self.compared.contains(name)).collect();
        assert!(left.is_empty(), "nothing is said about {left:?}");
    }
}

/// Whether `whole` says all that `part` says; a newer writer may say more.
fn says(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|said| says(said, value)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| says(whole, part))
        }
        _ => whole == part,
    }
}
