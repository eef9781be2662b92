//! `trialog experiment`.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::http::{Body, encoded};
use super::models::pair;
use super::output::{self, List as Rows, View, column};
use super::{Client, Failure};

/// Verbs of experiments.
#[derive(Subcommand)]
pub enum Experiment {
    /// Create an experiment; runs and sweeps that name a new one create it too.
    Create {
        /// Its name.
        name: String,
        /// NAME=VALUE; may be repeated.
        #[arg(long = "tag", value_parser = pair)]
        tags: Vec<(String, String)>,
    },
    /// List experiments.
    List {
        #[command(flatten)]
        view: View,
    },
    /// Show an experiment.
    Show {
        /// Its name or id.
        experiment: String,
    },
}

/// Runs a verb.
pub async fn experiment(client: &Client, command: Experiment) -> Result<(), Failure> {
    match command {
        Experiment::Create { name, tags } => {
            let tags: Value = Value::Object(tags.into_iter().map(|(name, value)| (name, value.into())).collect());
            let body = Body::Json(json!({ "name": name, "tags": tags }));
            let answer = client.send(Method::POST, "experiments", &body).await;
            let options = [("/name", "NAME"), ("/tags", "--tag")];
            output::thing(client, &answer.map_err(|failure| failure.in_options(&options))?);
        }
        Experiment::List { view } => {
            let experiments = client.get_all("experiments", "experiments").await?;
            let columns = vec![
                column("name"),
                column("id").at("experiment_id"),
                column("created").at("created_at").age(),
                column("tags").wide(),
            ];
            output::list(client, &experiments, Rows::new("experiments", columns), &view)?;
        }
        Experiment::Show { experiment } => {
            output::thing(client, &client.get(&format!("experiments/{}", encoded(&experiment))).await?);
        }
    }
    Ok(())
}
