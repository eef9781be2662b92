//! `trialog model`.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::http::{Body, encoded};
use super::output::{self, List as Rows, View, column};
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
        /// The model.
        model: String,
        /// The version's number.
        version: i64,
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
        #[command(flatten)]
        view: View,
    },
    /// Show a model, or one of its versions.
    Show {
        /// The model.
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
    /// The model.
    model: String,
    /// A version's number; the model itself when it is left out.
    version: Option<i64>,
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
            output::thing(client, &answer.map_err(|failure| failure.in_options(&options))?);
        }
        Model::Alias(wanted) => return alias(client, Alias::Set(wanted)).await,
        Model::Unalias(wanted) => return alias(client, Alias::Delete(wanted)).await,
        Model::History(wanted) => return alias(client, Alias::History(wanted)).await,
        Model::Update(wanted) => {
            let rest = wanted.version.map(|version| format!("/versions/{version}")).unwrap_or_default();
            let mut body = serde_json::Map::new();
            body.extend(wanted.description.map(|text| ("description".to_owned(), text.into())));
            body.extend((!wanted.tags.is_empty()).then(|| ("tags".to_owned(), map(wanted.tags))));
            let answer = client.send(Method::PATCH, &path(&wanted.model, &rest), &Body::Json(body.into())).await?;
            output::thing(client, &answer);
        }
        Model::Archive { model, version } => {
            let body = Body::Json(json!({ "is_archived": true }));
            let answer = client.send(Method::PATCH, &path(&model, &format!("/versions/{version}")), &body).await?;
            output::thing(client, &answer);
        }
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
        Model::Versions { model, view } => {
            let versions = client.get_all(&path(&model, "/versions"), "versions").await?;
            let columns = vec![
                column("version"),
                column("aliases"),
                column("run_id"),
                column("path").at("artifact_path"),
                column("created").at("created_at").age(),
                column("content_sha256").wide(),
                column("tags").wide(),
            ];
            output::list(client, &versions, Rows::new("versions", columns), &view)?;
        }
        Model::Show { model, version } => {
            let rest = version.map(|version| format!("/versions/{}", encoded(&version))).unwrap_or_default();
            output::thing(client, &client.get(&path(&model, &rest)).await?);
        }
    }
    Ok(())
}

/// Runs a verb.
pub async fn alias(client: &Client, command: Alias) -> Result<(), Failure> {
    let to = |model: &str, alias: &str| path(model, &format!("/aliases/{}", encoded(alias)));
    let options = [("/version", "VERSION"), ("/alias", "ALIAS"), ("/reason", "--reason")];
    let answer = match command {
        Alias::Set(SetAlias { model, alias, version, reason }) => {
            let body = Body::Json(json!({ "version": version, "reason": reason }));
            client.send(Method::PUT, &to(&model, &alias), &body).await
        }
        Alias::Delete(DeleteAlias { model, alias, reason }) => {
            client.send(Method::DELETE, &to(&model, &alias), &Body::Json(json!({ "reason": reason }))).await
        }
        Alias::History(History { model, view }) => {
            let changes = client.get(&path(&model, "/aliases")).await?;
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
    output::thing(client, &answer.map_err(|failure| failure.in_options(&options))?);
    Ok(())
}
