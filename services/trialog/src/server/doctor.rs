//! `trialog doctor`: what is in force, and whether the data folder can be used.

use std::path::PathBuf;

use super::settings;

/// Flags of `trialog doctor`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The data folder.
    #[arg(long, default_value = "./trialog-data", env = "TRIALOG_DATA")]
    data: PathBuf,
    /// A TOML file.
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Prints the configuration in force and the state of the data folder.
pub async fn doctor(arguments: Arguments) -> anyhow::Result<()> {
    let settings = settings::load(arguments.config.as_deref())?;
    println!("# configuration in force\n{}", toml::to_string_pretty(&settings)?);
    println!("# data folder {}", arguments.data.display());
    match std::fs::read_to_string(arguments.data.join("run/server.json")) {
        Ok(facts) => println!("a server announced itself: {facts}"),
        Err(_) if arguments.data.exists() => println!("no server is announced"),
        Err(_) => println!("does not exist yet; `trialog up` makes it"),
    }
    Ok(())
}
