//! `trialog model`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::http::{Body, encoded};
use super::output::{self, List as Rows, View, column, field};
use super::{Client, Failure, resolve};

/// Verbs of models.
#[derive(Subcommand)]
pub enum Model {
    /// Register a version from a run's artifact.
    Register {
        /// The model's name; new names make new models.
        model: String,
        /// The run: an id, the beginning of one, SWEEP/INDEX or SWEEP/best.
        #[arg(long)]
        run: String,
        /// The artifact's path, e.g. outputs/model.
        #[arg(long)]
        path: String,
        /// Free text.
        #[arg(long, default_value = "")]
        description: String,
        /// NAME=VALUE; may be repeated.
        #[arg(long = "tag", value_parser = pair)]
        tags: Vec<(String, String)>,
        /// Also when the run has failed.
        #[arg(long)]
        force: bool,
    },
    /// Point an alias to a version; the same as `alias set`.
    Alias(SetAlias),
    /// Remove an alias; the same as `alias delete`.
    Unalias(DeleteAlias),
    /// Change the description or the tags of a model, or of one of its versions.
    Update(UpdateModel),
    /// Hide a version from lists.
    Archive {
        /// The model; or MODEL/versions/N, MODEL@ALIAS.
        model: String,
        /// The version's number, latest or @alias, when it is not named with the model.
        version: Option<String>,
    },
    /// Take an archived version back.
    Unarchive {
        /// The model; or MODEL/versions/N.
        model: String,
        /// The version's number, when it is not named with the model.
        version: Option<String>,
    },
    /// List models.
    List {
        #[command(flatten)]
        view: View,
    },
    /// List a model's versions.
    Versions {
        /// The model.
        model: String,
        /// Only those that were archived.
        #[arg(long)]
        archived: bool,
        #[command(flatten)]
        view: View,
    },
    /// Show a model, or one of its versions.
    Show {
        /// The model; or a version of it as MODEL/versions/N or MODEL@ALIAS.
        model: String,
        /// A number, latest, or @alias.
        version: Option<String>,
    },
    /// Every change of every alias; the same as `alias history`.
    History(History),
}

/// Verbs of aliases.
#[derive(Subcommand)]
pub enum Alias {
    /// Point an alias to a version.
    Set(SetAlias),
    /// Remove an alias.
    Delete(DeleteAlias),
    /// Every change of every alias of a model.
    History(History),
}

/// Which alias is to point where.
#[derive(Args)]
pub struct SetAlias {
    /// The model.
    model: String,
    /// The alias.
    alias: String,
    /// The version's number.
    version: i64,
    /// Why.
    #[arg(long, default_value = "")]
    reason: String,
}

/// Which alias is to go.
#[derive(Args)]
pub struct DeleteAlias {
    /// The model.
    model: String,
    /// The alias.
    alias: String,
    /// Why.
    #[arg(long, default_value = "")]
    reason: String,
}

/// Whose history.
#[derive(Args)]
pub struct History {
    /// The model.
    model: String,
    #[command(flatten)]
    view: View,
}

/// What to change of a model or a version.
#[derive(Args)]
pub struct UpdateModel {
    /// The model; or a version of it as MODEL/versions/N.
    model: String,
    /// A version's number; the model itself when it is left out.
    version: Option<String>,
    /// Another description.
    #[arg(long)]
    description: Option<String>,
    /// NAME=VALUE; may be repeated.
    #[arg(long = "tag", value_parser = pair)]
    tags: Vec<(String, String)>,
}

/// NAME=VALUE.
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

fn path(model: &str, rest: &str) -> String {
    format!("models/{}{rest}", encoded(model))
}

fn map(pairs: Vec<(String, String)>) -> Value {
    Value::Object(pairs.into_iter().map(|(name, value)| (name, value.into())).collect())
}

/// Runs a verb.
pub async fn model(client: &Client, command: Model) -> Result<(), Failure> {
    match command {
        Model::Register { model, run, path: artifact, description, tags, force } => {
            let run = resolve::run(client, &run).await?;
            let body = json!({
                "run_id": run, "artifact_path": artifact, "description": description, "tags": map(tags), "force": force
            });
            let options = [("/run_id", "--run"), ("/artifact_path", "--path"), ("/tags", "--tag"), ("/model", "MODEL")];
            let answer = client.send(Method::POST, &path(&model, "/versions"), &Body::Json(body)).await;
            registered(client, answer.map_err(|failure| failure.in_options(&options))?);
        }
        Model::Alias(wanted) => return alias(client, Alias::Set(wanted)).await,
        Model::Unalias(wanted) => return alias(client, Alias::Delete(wanted)).await,
        Model::History(wanted) => return alias(client, Alias::History(wanted)).await,
        Model::Update(wanted) => {
            let (model, version) = named(&wanted.model, wanted.version)?;
            let rest = version.map(|version| format!("/versions/{}", encoded(&version))).unwrap_or_default();
            let mut body = serde_json::Map::new();
            body.extend(wanted.description.map(|text| ("description".to_owned(), text.into())));
            body.extend((!wanted.tags.is_empty()).then(|| ("tags".to_owned(), map(wanted.tags))));
            let answer = client.send(Method::PATCH, &path(&model, &rest), &Body::Json(body.into())).await?;
            output::thing(client, &answer);
        }
        Model::Archive { model, version } => archive(client, &model, version, true).await?,
        Model::Unarchive { model, version } => archive(client, &model, version, false).await?,
        Model::List { view } => {
            let models = client.get_all("models", "models").await?;
            let columns = vec![
                column("name"),
                column("latest").at("latest_version"),
                column("aliases"),
                column("created").at("created_at").age(),
                column("description").wide(),
                column("tags").wide(),
            ];
            output::list(client, &models, Rows::new("models", columns), &view)?;
        }
        Model::Versions { model, archived, view } => versions(client, &model, archived, &view).await?,
        Model::Show { model, version } => {
            let (model, version) = named(&model, version)?;
            let rest = version.map(|version| format!("/versions/{}", encoded(&version))).unwrap_or_default();
            output::thing(client, &client.get(&path(&model, &rest)).await?);
        }
    }
    Ok(())
}

/// Prints what was registered; what to know of it goes to people apart.
fn registered(client: &Client, mut version: Value) {
    if !client.format().is_document() {
        output::warnings(&version);
        version.as_object_mut().map(|fields| fields.remove("warnings"));
    }
    output::thing(client, &version);
}

/// A model, and the version that is named with it or beside it.
fn named(text: &str, beside: Option<String>) -> Result<(String, Option<String>), Failure> {
    match (documents::version_named(text), beside) {
        (Some((model, None)), beside) => Ok((model.to_owned(), beside)),
        (Some((model, with)), None) => Ok((model.to_owned(), with)),
        (Some(_), Some(beside)) => Err(Failure::Usage(format!("{text} names a version, and so does {beside}"))),
        (None, _) => Err(Failure::Usage(format!("{text:?} is no MODEL, MODEL/versions/N or MODEL@ALIAS"))),
    }
}

async fn archive(client: &Client, model: &str, version: Option<String>, is_archived: bool) -> Result<(), Failure> {
    let (model, version) = named(model, version)?;
    let Some(version) = version else {
        return Err(Failure::Usage(format!("which version? write {model}/versions/N")));
    };
    // Versions are changed by their numbers: an alias may be moved any time.
    let number = match version.parse::<i64>() {
        Ok(number) => number.to_string(),
        Err(_) => {
            let found = client.get(&path(&model, &format!("/versions/{}", encoded(&version)))).await?;
            field(&found, "version")
        }
    };
    let body = Body::Json(json!({ "is_archived": is_archived }));
    let answer = client.send(Method::PATCH, &path(&model, &format!("/versions/{}", encoded(&number))), &body).await?;
    output::thing(client, &answer);
    Ok(())
}

async fn versions(client: &Client, model: &str, archived: bool, view: &View) -> Result<(), Failure> {
    let which = if archived { "archived" } else { "active" };
    let mut versions = client.get_all(&path(model, &format!("/versions?view={which}")), "versions").await?;
    add_trials(client, &mut versions).await?;
    let columns = vec![
        column("version"),
        column("aliases"),
        column("trial"),
        column("value"),
        column("run_id"),
        column("path").at("artifact_path"),
        column("created").at("created_at").age(),
        column("content_sha256").wide(),
        column("tags").wide(),
    ];
    let name =
        column("name").within(Vec::new()).words(move |row| format!("{model}/versions/{}", field(row, "version")));
    output::list(client, &versions, Rows::new("versions", columns).named(name), view)
}

/// Adds what each version's trial is called and the best that it had. What cannot be read any more is left out.
async fn add_trials(client: &Client, versions: &mut Value) -> Result<(), Failure> {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for row in versions["versions"].as_array_mut().into_iter().flatten() {
        let (sweep, Some(index)) = (field(row, "sweep_id"), row.get("trial_index").and_then(Value::as_u64)) else {
            continue;
        };
        if sweep.is_empty() {
            continue;
        }
        let name = match names.get(&sweep) {
            Some(name) => name.clone(),
            None => {
                let found = resolve::sweep(client, &sweep).await?;
                // The name of one that was archived is not its own.
                let own = found.filter(|sweep| field(sweep, "archived_at").is_empty());
                own.map_or_else(|| sweep.clone(), |sweep| field(&sweep, "name"))
            }
        };
        row["trial"] = format!("{name}/{index}").into();
        names.insert(sweep.clone(), name);
        if let Ok(trial) = client.get(&format!("sweeps/{}/trials/{index}", encoded(&sweep))).await {
            row["value"] = trial.get("best_value").cloned().unwrap_or_default();
        }
    }
    Ok(())
}

/// Runs a verb.
pub async fn alias(client: &Client, command: Alias) -> Result<(), Failure> {
    let to = |model: &str, alias: &str| path(model, &format!("/aliases/{}", encoded(alias)));
    let options = [("/version", "VERSION"), ("/alias", "ALIAS"), ("/reason", "--reason")];
    let called = |model: &str, alias: &str| format!("{model}@{alias}");
    let (name, answer) = match command {
        Alias::Set(SetAlias { model, alias, version, reason }) => {
            let body = Body::Json(json!({ "version": version, "reason": reason }));
            (called(&model, &alias), client.send(Method::PUT, &to(&model, &alias), &body).await)
        }
        Alias::Delete(DeleteAlias { model, alias, reason }) => {
            let body = Body::Json(json!({ "reason": reason }));
            (called(&model, &alias), client.send(Method::DELETE, &to(&model, &alias), &body).await)
        }
        Alias::History(History { model, view }) => {
            let changes = client.get_all(&path(&model, "/aliases"), "changes").await?;
            let columns = vec![
                column("changed").at("changed_at").age(),
                column("alias"),
                column("from").at("previous_version"),
                column("to").at("version"),
                column("by").at("changed_by"),
                column("reason"),
            ];
            return output::list(client, &changes, Rows::new("changes", columns).named(column("alias")), &view);
        }
    };
    output::thing_called(client, &answer.map_err(|failure| failure.in_options(&options))?, &name);
    Ok(())
}
