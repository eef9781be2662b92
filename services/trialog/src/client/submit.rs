//! `trialog sweep submit`.

use std::path::PathBuf;

use clap::Args;
use documents::Tree;
use reqwest::Method;
use serde_json::{Value, json};
use vocabulary::{FieldError, Problem};

use super::document::Document;
use super::http::{Body, encoded};
use super::news::News;
use super::output::{self, Format, field};
use super::{Client, Failure, code, document, follow, python, resolve, script, stderr, summary};

/// Numbers that are tried where a free name is wanted.
const NUMBERS_MAX: u32 = 1_000;
/// The suffix that means the first number with which the name is free.
const NEXT: &str = "auto";

/// Arguments of `trialog sweep submit`.
#[derive(Args)]
pub struct Submit {
    /// A JSON or YAML file; `-` = the standard input.
    file: PathBuf,
    /// Change a value of the document: PATH=VALUE, e.g. limits.max_total_trials=10; a map is laid over the one that is
    /// there. May be repeated.
    #[arg(long)]
    set: Vec<String>,
    /// Archive the sweep that has the name, when it has ended.
    #[arg(long)]
    replace: bool,
    /// Put -SUFFIX behind the name; `auto` is the first number with which the name is free.
    #[arg(long, value_name = "SUFFIX")]
    name_suffix: Option<String>,
    /// Check only; nothing is written.
    #[arg(long)]
    dry_run: bool,
    /// Treat warnings as errors.
    #[arg(long)]
    strict: bool,
    /// Follow it until its end.
    #[arg(long)]
    follow: bool,
}

/// Submits a document, and follows the sweep where that is wanted.
pub async fn submit(client: &Client, wanted: Submit) -> Result<(), Failure> {
    if wanted.dry_run {
        output::only_text(client)?;
    }
    let mut document = document::read(&wanted.file)?;
    wanted.set.iter().try_for_each(|change| document.set_text(change))?;
    if let Some(suffix) = &wanted.name_suffix {
        rename(client, &mut document, suffix).await?;
    }
    let folder = document.text("trial.code").filter(|code| !code.starts_with("sha256:")).map(PathBuf::from);
    let code_folder = document.folder.join(folder.clone().unwrap_or_default());
    let mut left_out = Vec::new();
    if folder.is_some() {
        let (hash, warnings) = code::upload(client, &code_folder).await?;
        document.set("trial.code", Tree::Text(hash))?;
        left_out = warnings;
    }
    let missing =
        folder.as_ref().and_then(|_| script::missing_requirements(&document, REQUIREMENTS, &code_folder, code::names));
    if let Some(missing) = missing {
        return Err(refused(client, &document, wanted.strict, missing).await);
    }
    let mut found = script::warnings(&document, "trial", folder.is_some().then_some(code_folder.as_path()));
    found.extend(left_out);
    let path = format!("sweeps?dry_run={}&strict={}", wanted.dry_run, wanted.strict);
    if wanted.replace && !wanted.dry_run {
        replace(client, &document, wanted.strict).await?;
    }
    if wanted.strict && !found.is_empty() && !wanted.dry_run {
        return Err(Failure::Refused(Box::new(Problem::of_errors(422, found))));
    }
    let mut answer = client.send(Method::POST, &path, &document.body()).await?;
    if wanted.dry_run {
        found.extend(python::describe(&document, &code_folder, &mut answer));
        if wanted.strict && !found.is_empty() {
            return Err(Failure::Refused(Box::new(Problem::of_errors(422, found))));
        }
        add_warnings(&mut answer, &found);
        summary::plan(client, &answer);
        return Ok(());
    }
    let news = News::after(&answer);
    add_warnings(&mut answer, &found);
    if wanted.follow && !matches!(client.format(), Format::Table | Format::Wide) {
        // One document or row a command: it is the sweep at its end.
        return follow::follow(client, &field(&answer, "id"), News::default()).await;
    }
    output::submitted(client, &answer);
    if wanted.follow {
        return follow::follow(client, &field(&answer, "id"), news).await;
    }
    Ok(())
}

/// Where a sweep's document names what is installed.
const REQUIREMENTS: &str = "trial.environment.requirements";

/// What is wrong with the document, with what was found here beside what the server finds: all of it at once.
async fn refused(client: &Client, document: &Document, strict: bool, found: FieldError) -> Failure {
    let checked = client.send(Method::POST, &format!("sweeps?dry_run=true&strict={strict}"), &document.body()).await;
    let others = match checked {
        Ok(_) => Vec::new(),
        Err(Failure::Refused(problem)) => problem.errors,
        Err(other) => return other,
    };
    Failure::Refused(Box::new(Problem::of_errors(422, std::iter::once(found).chain(others).collect())))
}

/// Lays what was seen here beside what the server has seen; of the same code it is the more exact.
fn add_warnings(answer: &mut Value, found: &[FieldError]) {
    let Some(fields) = answer.as_object_mut() else { return };
    if let Some(warnings) = fields.entry("warnings").or_insert_with(|| json!([])).as_array_mut() {
        warnings.retain(|warning| found.iter().all(|found| field(warning, "code") != found.code));
        warnings.extend(found.iter().map(|found| json!(found)));
    }
}

fn name_of(document: &Document) -> Result<String, Failure> {
    let name = document.text("name").map(str::to_owned);
    name.ok_or_else(|| Failure::Usage("the document has no name to put a suffix behind, or to replace".to_owned()))
}

async fn rename(client: &Client, document: &mut Document, suffix: &str) -> Result<(), Failure> {
    let name = name_of(document)?;
    if suffix != NEXT {
        return document.set("name", Tree::Text(format!("{name}-{}", suffix.trim_start_matches('-'))));
    }
    for number in 2..NUMBERS_MAX {
        let candidate = format!("{name}-{number}");
        if resolve::sweep(client, &candidate).await?.is_none() {
            return document.set("name", Tree::Text(candidate));
        }
    }
    Err(Failure::Usage(format!("{name}-2 to {name}-{} are all taken", NUMBERS_MAX - 1)))
}

/// Frees the name, once it is known that the document is good: nothing is worse than to lose the old for nothing.
async fn replace(client: &Client, document: &Document, strict: bool) -> Result<(), Failure> {
    let name = name_of(document)?;
    let Some(old) = resolve::sweep(client, &name).await?.filter(|old| field(old, "name") == name) else {
        return Ok(());
    };
    let checked = client.send(Method::POST, &format!("sweeps?dry_run=true&strict={strict}"), &document.body()).await;
    match checked {
        // Which is what the old one is archived for.
        Err(Failure::Refused(problem)) if problem.code == "NameTaken" => {}
        checked => drop(checked?),
    }
    let path = format!("sweeps/{}:archive", encoded(&field(&old, "sweep_id")));
    client.send(Method::POST, &path, &Body::Json(json!({}))).await?;
    stderr::line(&format!("archived the earlier {name} ({})", field(&old, "sweep_id")));
    Ok(())
}
