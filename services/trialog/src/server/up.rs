//! `trialog up`: everything in one process, on one data folder.

use std::path::PathBuf;

use super::folder::DataFolder;
use super::settings;
use super::wiring::{self, Plan};

/// Flags of `trialog up`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The data folder; made when absent.
    #[arg(long, default_value = "./trialog-data", env = "TRIALOG_DATA")]
    data: PathBuf,
    /// Where REST, the docs and scoring listen.
    #[arg(long)]
    listen: Option<String>,
    /// A TOML file.
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Runs the server until SIGINT or SIGTERM. Nodes and their jobs outlive it and are found again by the next start.
pub async fn up(arguments: Arguments) -> anyhow::Result<()> {
    runtime::telemetry::start("warn");
    let mut settings = settings::load(arguments.config.as_deref())?;
    if let Some(listen) = arguments.listen {
        settings.http.listen = listen;
    }
    let folder = DataFolder::open(&arguments.data)?;
    wiring::run(Plan::everything(folder, settings)).await
}
