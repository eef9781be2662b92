//! `trialog views`: the read models of each service, made anew from every event beside those that are read, compared
//! with them, and put in their place.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use eventlog::{Compared, Options, Rebuilding, Rebuilt};
use serde_json::{Value, json};

use super::{logs, moved, settings};
use crate::client::output::{Format, document, line};

/// Flags of `trialog views`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Name every read model and its tables.
    #[command(after_help = "Example:\n  trialog views list")]
    List,
    /// Make read models anew from the first event on, compare them with what is read, and put them in its place.
    #[command(
        after_help = "A server may run meanwhile. With differences --check ends with 1, and changes nothing.\n\n\
        Examples:\n  trialog views rebuild --check --data trialog-data\n  \
        trialog views rebuild sweeps.sweeps_listed --data trialog-data\n  \
        trialog views rebuild runs compute --config trialog.toml"
    )]
    Rebuild(Rebuild),
}

#[derive(clap::Args)]
struct Rebuild {
    /// SERVICE.VIEW, or SERVICE for all of its own; all of all services when none is named.
    views: Vec<String>,
    /// Compare, and say which rows differ; write nothing.
    #[arg(long)]
    check: bool,
    /// The data folder.
    #[arg(long, default_value = "./trialog-data", env = "TRIALOG_DATA")]
    data: PathBuf,
    /// A TOML file: it says where the logs are, when that is no folder.
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Lists or rebuilds.
///
/// # Errors
/// When a name is none, a log cannot be read, or `--check` has found differences.
pub async fn run(arguments: Arguments, format: Format) -> anyhow::Result<()> {
    match arguments.what {
        What::List => list(format),
        What::Rebuild(rebuild) => run_rebuild(rebuild, format).await,
    }
}

fn list(format: Format) -> anyhow::Result<()> {
    // Which there are depends on the build alone, not on where the logs are.
    let nowhere = Path::new("");
    let mut views = Vec::new();
    for options in logs::options(nowhere, &super::databases::in_folder(nowhere)) {
        for view in &options.views {
            let name = format!("{}.{}", options.service, view.name());
            let tables: Vec<&str> = view.tables().iter().map(|table| table.name()).collect();
            if !format.is_document() {
                line(&format!("{name:<28} {}", tables.join(", ")));
            }
            views.push(json!({"view": name, "tables": tables}));
        }
    }
    if format.is_document() {
        document(format, &json!({ "views": views }));
    }
    Ok(())
}

async fn run_rebuild(arguments: Rebuild, format: Format) -> anyhow::Result<()> {
    let Rebuild { views: names, check, data, config } = arguments;
    let settings = settings::load(config.as_deref())?;
    ensure!(data.is_dir(), "there is no data folder {}; name it with --data", data.display());
    let stores = settings.store.stores(&data)?;
    if let Some(elsewhere) = moved::refusal(&data, &stores)? {
        bail!("{elsewhere}");
    }
    let logs = logs::options(&data, &stores);
    let chosen = chosen(&logs, &names)?;
    let how = if check { Rebuilding::Check } else { Rebuilding::Swap };
    let (mut differ, mut done) = (0, Vec::new());
    for (options, views) in logs.into_iter().zip(chosen) {
        let (service, place) = (options.service, options.store.to_string());
        if views.is_empty() {
            continue;
        }
        if !options.store.is_there().await.with_context(|| place.clone())? {
            line_for_people(format, &format!("{service}: there is no database in {place} yet"));
            continue;
        }
        let rebuilt = eventlog::rebuild(options, &views, how).await.with_context(|| format!("{service} ({place})"))?;
        differ += show(service, &rebuilt, format, &mut done);
    }
    if format.is_document() {
        document(format, &json!({ "views": done }));
    }
    let outcome = match (differ, check) {
        (0, _) => "what is read is what the events tell",
        (_, false) => "what differed is mended: it is what the events tell",
        (tables, true) => bail!(
            "{tables} {} not what the events tell, as shown above; the same command without --check mends that",
            if tables == 1 { "table is" } else { "tables are" }
        ),
    };
    line_for_people(format, outcome);
    Ok(())
}

fn line_for_people(format: Format, text: &str) {
    if !format.is_document() {
        line(text);
    }
}

/// The views of each log that are meant.
fn chosen(logs: &[Options], names: &[String]) -> anyhow::Result<Vec<Vec<&'static str>>> {
    let all = |options: &Options| options.views.iter().map(|view| view.name()).collect::<Vec<_>>();
    if names.is_empty() {
        return Ok(logs.iter().map(all).collect());
    }
    let mut chosen: Vec<Vec<&'static str>> = vec![Vec::new(); logs.len()];
    for name in names {
        let (service, view) = name.split_once('.').map_or((name.as_str(), None), |(a, b)| (a, Some(b)));
        let place = logs.iter().position(|options| options.service == service);
        let wanted: Vec<&'static str> = place.map(|place| all(&logs[place])).unwrap_or_default();
        let wanted: Vec<_> = wanted.into_iter().filter(|known| view.is_none_or(|view| view == *known)).collect();
        let (Some(place), false) = (place, wanted.is_empty()) else {
            bail!("{name:?} is no SERVICE.VIEW and no service; `trialog views list` says which there are");
        };
        for view in wanted {
            if !chosen[place].contains(&view) {
                chosen[place].push(view);
            }
        }
    }
    Ok(chosen)
}

/// Says what was found, and answers how many tables differed.
fn show(service: &str, rebuilt: &Rebuilt, format: Format, done: &mut Vec<Value>) -> usize {
    let mut differ = 0;
    for view in &rebuilt.views {
        for table in &view.tables {
            differ += usize::from(!table.is_equal());
            let name = format!("{service}.{}", view.view);
            if !format.is_document() {
                in_words(&name, table, rebuilt.is_swapped).iter().for_each(|text| line(text));
            }
            done.push(in_json(&name, table, rebuilt));
        }
    }
    differ
}

fn in_words(view: &str, table: &Compared, is_swapped: bool) -> Vec<String> {
    let Compared { read, made, differences, .. } = table;
    let state = match (table.is_equal(), is_swapped) {
        (true, _) => "equal",
        (false, true) => "mended",
        (false, false) => "differs",
    };
    let mut lines = vec![format!("{view:<28} {:<20} {:>10}  {}  {state}", made.table, made.rows, made.hash)];
    if !table.is_equal() {
        lines.push(format!(
            "    is read with {} rows, hash {}: {} missing, {} of no event, {} with other values",
            read.rows, read.hash, differences.missing, differences.unfounded, differences.other
        ));
        lines.extend(differences.shown.iter().map(|row| format!("    {row}")));
    }
    lines
}

fn in_json(view: &str, table: &Compared, rebuilt: &Rebuilt) -> Value {
    let Compared { read, made, is_shared, differences } = table;
    json!({
        "view": view, "table": made.table, "position": rebuilt.position, "shared": is_shared,
        "rows": made.rows, "hash": made.hash, "read_rows": read.rows, "read_hash": read.hash,
        "equal": table.is_equal(), "swapped": rebuilt.is_swapped && !table.is_equal(),
        "missing": differences.missing, "of_no_event": differences.unfounded, "other": differences.other,
        "differences": differences.shown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_views_services_or_refused() {
        let nowhere = Path::new("");
        let logs = logs::options(nowhere, &super::super::databases::in_folder(nowhere));
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            chosen(&logs, &names).map(|chosen| chosen.concat()).map_err(|error| error.to_string())
        };
        assert_eq!(names(&["sweeps.sweep_stops", "compute.totals"]).unwrap(), ["sweep_stops", "totals"]);
        assert_eq!(names(&["models", "models.models_listed"]).unwrap(), ["models_listed"]);
        let all: usize = logs.iter().map(|options| options.views.len()).sum();
        assert_eq!(names(&[]).unwrap().len(), all);
        for wrong in ["sweeps.totals", "gateway", "sweeps.", ""] {
            assert!(names(&[wrong]).unwrap_err().contains("trialog views list"), "{wrong}");
        }
    }
}
