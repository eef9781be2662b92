//! What a data folder says about a move of its databases: where they are now, and where the former ones lie.

use std::fs;
use std::path::Path;

use anyhow::Context;
use eventlog::Stores;
use serde::{Deserialize, Serialize};

/// What the folder knows of it.
pub const NOTE: &str = "db/moved.json";
/// Where the former databases lie.
pub const FORMER: &str = "db/moved";

/// A move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The database, without a password.
    pub url: String,
    /// What the names of its schemas begin with.
    pub prefix: String,
    /// Whether it is known to have taken place: until then it may have, or not.
    pub is_certain: bool,
}

impl Moved {
    /// What a folder says, if it was moved.
    ///
    /// # Errors
    /// When what it says cannot be read.
    pub fn of(root: &Path) -> anyhow::Result<Option<Self>> {
        let path = root.join(NOTE);
        match fs::read(&path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text).with_context(|| path.display().to_string())?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// The place, for people.
    pub fn place(&self) -> String {
        format!("{} (schemas {}_*)", self.url, self.prefix)
    }
}

/// Why the files of a folder are not to be used; nothing where they are, or are not asked for.
///
/// # Errors
/// When what the folder says cannot be read.
pub fn refusal(root: &Path, stores: &Stores) -> anyhow::Result<Option<String>> {
    let asks_for_files = stores.of("workspaces").file().is_some();
    let Some(moved) = Moved::of(root)?.filter(|_| asks_for_files) else { return Ok(None) };
    let (place, former, note) = (moved.place(), root.join(FORMER), root.join(NOTE));
    let (former, note) = (former.display(), note.display());
    Ok(Some(match moved.is_certain {
        true => format!(
            "the databases of this folder were moved to {place}: give store.url and store.prefix in --config FILE. \
             What was there at the move lies in {former}; whoever goes back to that puts it back into db/ and removes \
             {note}, and loses what was written since"
        ),
        false => format!(
            "a move of the databases of this folder to {place} broke off when it ended, so that it may have taken \
             place: the same `trialog move` again finishes it. Where that database is gone for good, so is the move: \
             remove {note}"
        ),
    }))
}
