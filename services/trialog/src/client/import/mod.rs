//! `trialog import`: finished trials of other programs. Their files are read here, never by the server.

mod csv;
mod optuna;
mod tree;

use std::path::PathBuf;

use clap::Subcommand;
use documents::{Node, Tree};
use reqwest::Method;

use super::output::{self, entries, field};
use super::{Client, Failure, document, stderr};

/// Where the trials are from.
#[derive(Subcommand)]
pub enum Import {
    /// An Optuna study: a SQLite file of Optuna 3 to 5. Which parameters belong to values of others is read from its
    /// trials.
    Optuna {
        /// The file.
        file: PathBuf,
        /// Which study; may be left out when the file has only one.
        #[arg(long)]
        study: Option<String>,
        /// The sweep's name; default: the study's.
        #[arg(long)]
        name: Option<String>,
        /// The name of the objective; with several of them, one for each in order. Default: the study's metric names,
        /// or `value` (`value_0`, `value_1`, ..).
        #[arg(long)]
        metric: Vec<String>,
    },
    /// A CSV file: a column for each parameter, `value` or one for each watched metric, and `state` (completed, failed
    /// or pruned) if it is there.
    Csv {
        /// The file.
        file: PathBuf,
        /// A sweep document with objective and search_space; its other sections do not matter.
        #[arg(long)]
        space: PathBuf,
        /// The sweep's name; default: the document's.
        #[arg(long)]
        name: Option<String>,
    },
}

/// Reads the file and sends the trials.
pub async fn import(client: &Client, command: Import) -> Result<(), Failure> {
    let table = match command {
        Import::Optuna { file, study, name, metric } => {
            let read = optuna::read(&file, study.as_deref(), &metric).await?;
            read.notes.iter().for_each(|note| stderr::line(&format!("note: {note}")));
            renamed(read.table, name)
        }
        Import::Csv { file, space, name } => {
            let text = std::fs::read_to_string(&file);
            let text = text.map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
            let space = document::read(&space)?;
            let table = csv::table(&text, space.tree());
            renamed(table.map_err(|wrong| Failure::Usage(format!("{}: {wrong}", file.display())))?, name)
        }
    };
    let answer = client.send(Method::POST, "sweeps:import", &document::json_body(&table)).await?;
    for warning in entries(&answer, "warnings") {
        stderr::warning(&field(warning, "message"), &field(warning, "code"));
    }
    let trials =
        table.get("trials").map_or(0, |trials| if let Tree::List(rows) = &trials.value { rows.len() } else { 0 });
    output::describe(client, &answer, || {
        vec![format!("{}  {}  {trials} trials", field(&answer, "id"), field(&answer, "name"))]
    });
    Ok(())
}

fn renamed(mut table: Node, name: Option<String>) -> Node {
    if let (Some(name), Tree::Map(entries)) = (name, &mut table.value) {
        entries.retain(|(key, _)| key != "name");
        entries.insert(0, ("name".to_owned(), tree::text(name)));
    }
    table
}
