//! `trialog doctor`: what is in force, and whether the data folder is sound.

use std::path::PathBuf;

use super::{databases, settings};

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

/// Prints the configuration in force and what is wrong with the data folder. Reads every database whole; a server may
/// run meanwhile.
///
/// # Errors
/// When anything is wrong with the folder.
pub async fn doctor(arguments: Arguments) -> anyhow::Result<()> {
    let settings = settings::load(arguments.config.as_deref())?;
    println!("# configuration in force\n{}", toml::to_string_pretty(&settings)?);
    println!("# data folder {}", arguments.data.display());
    if !arguments.data.exists() {
        println!("does not exist yet; `trialog up` makes it");
        return Ok(());
    }
    match std::fs::read_to_string(arguments.data.join("run/server.json")) {
        Ok(facts) => println!("a server announced itself: {facts}"),
        Err(_) => println!("no server is announced"),
    }
    let faults = databases::faults(&arguments.data).await?;
    if faults.is_empty() {
        println!("the databases are sound");
        return Ok(());
    }
    faults.iter().for_each(|fault| println!("wrong: {fault}"));
    anyhow::bail!("{} faults in {}; put damaged databases back from a backup", faults.len(), arguments.data.display())
}
