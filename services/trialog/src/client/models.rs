//! `trialog model`.

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::http::{Body, encoded};
use super::{Client, Failure, show};

/// Verbs of models.
#[derive(Subcommand)]
pub enum Model {
    /// Register a version from a run's artifact.
    Register {
        /// The model's name; new names make new models.
        model: String,
        /// The run.
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
    /// Point an alias to a version.
    Alias {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
        /// The version's number.
        version: i64,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Remove an alias.
    Unalias {
        /// The model.
        model: String,
        /// The alias.
        alias: String,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Hide a version from lists.
    Archive {
        /// The model.
        model: String,
        /// The version's number.
        version: i64,
    },
    /// List models.
    List,
    /// List a model's versions.
    Versions {
        /// The model.
        model: String,
    },
    /// Show a model, or one of its versions.
    Show {
        /// The model.
        model: String,
        /// A number, latest, or @alias.
        version: Option<String>,
    },
    /// Every change of every alias.
    History {
        /// The model.
        model: String,
    },
}

/// NAME=VALUE.
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs a verb.
pub async fn model(client: &Client, command: Model) -> Result<(), Failure> {
    let path = |model: &str, rest: &str| format!("models/{}{rest}", encoded(model));
    match command {
        Model::Register { model, run, path: artifact, description, tags, force } => {
            let tags: serde_json::Map<_, _> = tags.into_iter().map(|(name, value)| (name, value.into())).collect();
            let body = json!({
                "run_id": run, "artifact_path": artifact, "description": description, "tags": tags, "force": force
            });
            let answer = client.send(Method::POST, &path(&model, "/versions"), &Body::Json(body)).await?;
            show::thing(client, &answer);
        }
        Model::Alias { model, alias, version, reason } => {
            let body = Body::Json(json!({ "version": version, "reason": reason }));
            let answer =
                client.send(Method::PUT, &path(&model, &format!("/aliases/{}", encoded(&alias))), &body).await?;
            show::thing(client, &answer);
        }
        Model::Unalias { model, alias, reason } => {
            let body = Body::Json(json!({ "reason": reason }));
            let answer =
                client.send(Method::DELETE, &path(&model, &format!("/aliases/{}", encoded(&alias))), &body).await?;
            show::thing(client, &answer);
        }
        Model::Archive { model, version } => {
            let body = Body::Json(json!({ "is_archived": true }));
            let answer = client.send(Method::PATCH, &path(&model, &format!("/versions/{version}")), &body).await?;
            show::thing(client, &answer);
        }
        Model::List => {
            let models = client.get_all("models", "models").await?;
            show::list(client, &models, "models", &["name", "latest_version", "aliases", "created_at"]);
        }
        Model::Versions { model } => {
            let versions = client.get_all(&path(&model, "/versions"), "versions").await?;
            show::list(
                client,
                &versions,
                "versions",
                &["version", "aliases", "run_id", "content_sha256", "created_at"],
            );
        }
        Model::Show { model, version } => {
            let rest = version.map(|version| format!("/versions/{}", encoded(&version))).unwrap_or_default();
            show::thing(client, &client.get(&path(&model, &rest)).await?);
        }
        Model::History { model } => {
            let changes = client.get(&path(&model, "/aliases")).await?;
            let columns = ["changed_at", "alias", "previous_version", "version", "changed_by", "reason"];
            show::list(client, &changes, "changes", &columns);
        }
    }
    Ok(())
}
