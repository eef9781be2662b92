//! `trialog migrate`: the tables of this build, before it serves.

use std::path::PathBuf;

use anyhow::Context;
use eventlog::Migrated;
use serde_json::json;

use super::folder::DataFolder;
use super::{databases, logs, settings, standby};
use crate::client::output::{Format, document, line};

/// Flags of `trialog migrate`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  trialog migrate --data trialog-data\n  trialog migrate --config trialog.toml")]
pub struct Arguments {
    /// The data folder.
    #[arg(long, default_value = "./trialog-data", env = "TRIALOG_DATA")]
    data: PathBuf,
    /// A TOML file.
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Applies what each database lacks and says what that was.
///
/// # Errors
/// When a server has the folder or writes a log, or a newer build has migrated one: then none is changed.
pub async fn run(arguments: Arguments, format: Format) -> anyhow::Result<()> {
    let settings = settings::load(arguments.config.as_deref())?;
    let folder = DataFolder::open(&arguments.data)?;
    let stores = standby::stores(&settings, &folder, String::new())?;
    databases::check(folder.root(), &stores, &databases::KEEPERS.map(str::to_owned), &[]).await?;
    let mut done = Vec::new();
    for options in logs::options(folder.root(), &stores) {
        let (service, place) = (options.service, options.store.to_string());
        let migrated = eventlog::migrate(options).await.with_context(|| format!("{service} ({place})"))?;
        if !format.is_document() {
            line(&in_words(service, &migrated));
        }
        done.push(json!({"service": service, "migrations": migrated.migrations, "views": migrated.views}));
    }
    databases::remember(folder.root(), &stores).await?;
    if format.is_document() {
        document(format, &json!({ "services": done }));
    }
    Ok(())
}

fn in_words(service: &str, Migrated { migrations, views }: &Migrated) -> String {
    let applied = match migrations.is_empty() {
        true => "has all tables of this build".to_owned(),
        false => format!("applied {}", migrations.join(", ")),
    };
    match views.is_empty() {
        true => format!("{service}: {applied}"),
        false => format!("{service}: {applied}; fed with its history: {}", views.join(", ")),
    }
}
