//! `trialog up`: everything in one process, on one data folder.

use std::path::PathBuf;

use super::folder::DataFolder;
use super::plan::Plan;
use super::wiring;
use super::{databases, settings, standby};

/// Flags of `trialog up`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The data folder; made when absent.
    #[arg(long, default_value = "./trialog-data", env = "TRIALOG_DATA")]
    data: PathBuf,
    /// Where REST, the docs and scoring listen.
    #[arg(long)]
    listen: Option<String>,
    /// Use the database of this service as it is, also when it is missing, empty or another one than before; may be
    /// repeated.
    #[arg(long = "accept-database", value_name = "SERVICE")]
    accepted: Vec<String>,
    #[command(flatten)]
    flags: settings::Flags,
}

/// Runs the server until SIGINT or SIGTERM. Nodes and their jobs outlive it and are found again by the next start.
pub async fn up(arguments: Arguments) -> anyhow::Result<()> {
    let mut settings = arguments.flags.begin()?;
    if let Some(listen) = arguments.listen {
        settings.http.listen = listen;
    }
    let folder = DataFolder::open(&arguments.data)?;
    let stores = standby::stores(&settings, &folder, String::new())?;
    databases::check(folder.root(), &stores, &databases::KEEPERS.map(str::to_owned), &arguments.accepted).await?;
    wiring::run(Plan::everything(folder, settings, stores)).await
}
