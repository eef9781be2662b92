//! What becomes of the objects of an installation that moves: they stay in its folder, or are copied to S3.

use std::path::Path;

use anyhow::{Context, bail};
use eventlog::Stores;
use runs::objects::{Content, Noted, Objects};
use runtime::MachineEntropy;
use serde_json::{Value, json};

use super::settings;

/// Where objects are, and where they go.
pub struct Bucket {
    folder: Objects,
    /// `None`: they stay.
    to: Option<Objects>,
}

impl Bucket {
    /// As the configuration says with which the installation is to go on.
    ///
    /// # Errors
    /// When what it says is none.
    pub fn of(settings: &settings::Objects, root: &Path) -> anyhow::Result<Self> {
        let to = if settings.are_shared() { Some(settings.open(root)?) } else { None };
        Ok(Self { folder: Objects::local(&root.join("objects"))?, to })
    }

    /// What would be copied; writes nothing.
    ///
    /// # Errors
    /// When the folder cannot be read, or the other place is another installation's or away.
    pub async fn look(&self, stores: &Stores) -> anyhow::Result<Value> {
        let content = self.folder.content().await?;
        if let Some(to) = &self.to {
            check(to, &source(stores).await?).await?;
        }
        Ok(self.document(content))
    }

    /// Copies them, and notes there whose they are. What stays says so.
    ///
    /// # Errors
    /// When one is damaged, or the other place is another installation's or fails: the same command again goes on.
    pub async fn carry(&self, stores: &Stores) -> anyhow::Result<Value> {
        let Some(to) = &self.to else { return Ok(self.document(self.folder.content().await?)) };
        let source = source(stores).await?;
        check(to, &source).await?;
        let again = "objects are not all copied; the same command again goes on, and nothing else was moved";
        let content = self.folder.carry(to, &MachineEntropy::default()).await.context(again)?;
        to.note_owner(&source).await.context(again)?;
        Ok(self.document(content))
    }

    fn document(&self, Content { count, bytes }: Content) -> Value {
        let place = self.to.as_ref().unwrap_or(&self.folder).to_string();
        json!({"count": count, "bytes": bytes, "place": place, "copied": self.to.is_some()})
    }

    /// One sentence about them.
    pub fn in_words(&self, found: &Value, verb: &str) -> String {
        let (count, bytes, place) = (&found["count"], &found["bytes"], found["place"].as_str().unwrap_or_default());
        match &self.to {
            None => format!("its {count} objects ({bytes} bytes) stay in {place}"),
            Some(_) => format!(
                "its {count} objects ({bytes} bytes) {verb} {place}: the [objects] of --config say so at each start. \
                 Those in {} are read no more",
                self.folder
            ),
        }
    }
}

/// The log that has named the objects.
async fn source(stores: &Stores) -> anyhow::Result<String> {
    let log = stores.of("runs").examine().await?.context("there is no log of runs")?;
    Ok(format!("runs@{}", log.incarnation))
}

async fn check(to: &Objects, source: &str) -> anyhow::Result<()> {
    match to.owner().await? {
        Noted::By(owner) if owner != source => {
            bail!("{to} has the objects of {owner}, and these are of {source}: name another prefix in objects.url")
        }
        Noted::Unknown(problem) => Err(problem).with_context(|| to.to_string()),
        _ => Ok(()),
    }
}
