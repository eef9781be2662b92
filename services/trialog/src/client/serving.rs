//! `trialog endpoint` and `trialog deployment`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::compute::gone;
use super::http::{Body, encoded};
use super::output::{self, List as Rows, View, column, field};
use super::{Client, Failure, document, stderr};

/// Verbs of endpoints.
#[derive(Subcommand)]
pub enum Endpoint {
    /// Create an endpoint, or change its description and tags.
    Create {
        /// Its name.
        name: String,
        /// Free text.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// Set the weights: DEPLOYMENT=PERCENT …; they sum to 100, or to 0.
    Traffic {
        /// The endpoint.
        endpoint: String,
        /// DEPLOYMENT=PERCENT.
        #[arg(required = true, value_parser = share)]
        shares: Vec<(String, u32)>,
    },
    /// Send a file (or the standard input with `-`) to the endpoint.
    Score {
        /// The endpoint.
        endpoint: String,
        /// The body.
        file: PathBuf,
        /// Send it to /invocations instead of /score.
        #[arg(long)]
        invocations: bool,
        /// Pick a deployment.
        #[arg(long)]
        deployment: Option<String>,
    },
    /// List endpoints.
    List {
        #[command(flatten)]
        view: View,
    },
    /// Show an endpoint.
    Show {
        /// Its name.
        name: String,
    },
    /// Delete an endpoint with its deployments.
    Delete {
        /// Its name.
        name: String,
        /// Wait until its replicas have ended, at most so many seconds.
        #[arg(long, default_value_t = 0)]
        wait: u32,
    },
}

/// Verbs of deployments.
#[derive(Subcommand)]
pub enum Deployment {
    /// Deploy a registered version behind an endpoint.
    Create(CreateDeployment),
    /// List an endpoint's deployments.
    List {
        /// The endpoint.
        endpoint: String,
        #[command(flatten)]
        view: View,
    },
    /// Show a deployment.
    Show {
        /// The endpoint.
        endpoint: String,
        /// The deployment.
        deployment: String,
    },
    /// Print the replicas' last log lines.
    Logs {
        /// The endpoint.
        endpoint: String,
        /// The deployment.
        deployment: String,
    },
    /// Delete a deployment that carries no traffic.
    Delete {
        /// The endpoint.
        endpoint: String,
        /// The deployment.
        deployment: String,
        /// Wait until its replicas have ended, at most so many seconds.
        #[arg(long, default_value_t = 0)]
        wait: u32,
    },
}

/// A deployment, as flags or as a file.
#[derive(Args)]
pub struct CreateDeployment {
    /// The endpoint.
    endpoint: String,
    /// The deployment.
    deployment: String,
    /// A JSON or YAML file instead of the flags below.
    #[arg(long, conflicts_with_all = ["model", "cluster"])]
    file: Option<PathBuf>,
    /// NAME/versions/N or NAME@ALIAS.
    #[arg(long, required_unless_present = "file")]
    model: Option<String>,
    /// The cluster that its replicas run on.
    #[arg(long, required_unless_present = "file")]
    cluster: Option<String>,
    /// How many replicas.
    #[arg(long, default_value_t = 1)]
    instance_count: u32,
    /// The Python that loads the model.
    #[arg(long)]
    python: Option<String>,
    /// Processors of a replica.
    #[arg(long)]
    cpu_count: Option<f64>,
    /// Wait until it is ready, at most so many seconds.
    #[arg(long, default_value_t = 0)]
    wait: u32,
}

/// Where the fields of a deployment come from on the command line.
const OPTIONS: [(&str, &str); 5] = [
    ("/model", "--model"),
    ("/cluster", "--cluster"),
    ("/instance_count", "--instance-count"),
    ("/environment/python", "--python"),
    ("/resources/cpu_count", "--cpu-count"),
];

/// DEPLOYMENT=PERCENT.
fn share(text: &str) -> Result<(String, u32), String> {
    let wrong = || format!("{text:?} is not DEPLOYMENT=PERCENT");
    let (name, percent) = text.split_once('=').ok_or_else(wrong)?;
    Ok((name.to_owned(), percent.trim_end_matches('%').parse().map_err(|_| wrong())?))
}

/// Runs a verb.
pub async fn endpoint(client: &Client, command: Endpoint) -> Result<(), Failure> {
    let path = |name: &str, rest: &str| format!("endpoints/{}{rest}", encoded(name));
    match command {
        Endpoint::Create { name, description } => {
            let body = Body::Json(json!({ "description": description }));
            output::thing(client, &client.send(Method::PUT, &path(&name, ""), &body).await?);
        }
        Endpoint::Traffic { endpoint, shares } => {
            let traffic: serde_json::Map<_, _> = shares.into_iter().map(|(name, share)| (name, share.into())).collect();
            let body = Body::Json(json!({ "traffic": traffic }));
            output::thing(client, &client.send(Method::PUT, &path(&endpoint, "/traffic"), &body).await?);
        }
        Endpoint::Score { endpoint, file, invocations, deployment } => {
            let verb = if invocations { "invocations" } else { "score" };
            return score(client, &endpoint, &file, verb, deployment).await;
        }
        Endpoint::List { view } => {
            let endpoints = client.get_all("endpoints", "endpoints").await?;
            let columns = vec![
                column("name"),
                column("state").at("provisioning_state"),
                column("traffic"),
                column("effective").at("effective_traffic"),
                column("created").at("created_at").age().wide(),
            ];
            output::list(client, &endpoints, Rows::new("endpoints", columns), &view)?;
        }
        Endpoint::Show { name } => output::thing(client, &client.get(&path(&name, "")).await?),
        Endpoint::Delete { name, wait } => {
            let answer = client.send(Method::DELETE, &path(&name, ""), &Body::None).await?;
            gone(client, &path(&name, ""), answer, wait).await?;
        }
    }
    Ok(())
}

async fn score(
    client: &Client,
    endpoint: &str,
    file: &std::path::Path,
    verb: &str,
    deployment: Option<String>,
) -> Result<(), Failure> {
    let bytes = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).map(String::into_bytes)
    } else {
        std::fs::read(file)
    };
    let bytes = bytes.map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
    let (headers, body) = client.score(endpoint, verb, deployment.as_deref(), bytes).await?;
    stderr::line(&headers);
    // The answer is the caller's own document, whatever is in it.
    output::line_as_it_is(&body);
    Ok(())
}

/// Runs a verb.
pub async fn deployment(client: &Client, command: Deployment) -> Result<(), Failure> {
    let path = |endpoint: &str, name: &str| format!("endpoints/{}/deployments/{}", encoded(endpoint), encoded(name));
    match command {
        Deployment::Create(wanted) => return create(client, &wanted).await,
        Deployment::List { endpoint, view } => {
            let deployments =
                client.get_all(&format!("endpoints/{}/deployments", encoded(&endpoint)), "deployments").await?;
            let ready = |row: &Value| format!("{}/{}", field(row, "ready_count"), field(row, "instance_count"));
            let columns = vec![
                column("name"),
                column("state").at("provisioning_state"),
                column("model"),
                column("version").at("model_version"),
                column("ready").at("ready_count").words(ready),
                column("reason").cut(),
                column("created").at("created_at").age().wide(),
            ];
            output::list(client, &deployments, Rows::new("deployments", columns), &view)?;
        }
        Deployment::Show { endpoint, deployment } => {
            output::thing(client, &client.get(&path(&endpoint, &deployment)).await?);
        }
        Deployment::Logs { endpoint, deployment } => {
            output::only_text(client)?;
            let logs = client.get(&format!("{}/logs", path(&endpoint, &deployment))).await?;
            output::describe(client, &logs, || field(&logs, "text").lines().map(str::to_owned).collect());
        }
        Deployment::Delete { endpoint, deployment, wait } => {
            let path = path(&endpoint, &deployment);
            let answer = client.send(Method::DELETE, &path, &Body::None).await?;
            gone(client, &path, answer, wait).await?;
        }
    }
    Ok(())
}

async fn create(client: &Client, wanted: &CreateDeployment) -> Result<(), Failure> {
    let path = format!("endpoints/{}/deployments/{}", encoded(&wanted.endpoint), encoded(&wanted.deployment));
    let body = match &wanted.file {
        Some(file) => document::read(file)?.body(),
        None => {
            let mut body =
                json!({ "model": wanted.model, "cluster": wanted.cluster, "instance_count": wanted.instance_count });
            if let Some(python) = &wanted.python {
                body["environment"] = json!({ "python": python });
            }
            if let Some(cpu_count) = wanted.cpu_count {
                body["resources"] = json!({ "cpu_count": cpu_count });
            }
            Body::Json(body)
        }
    };
    let state = client.send(Method::PUT, &path, &body).await;
    let mut state =
        state.map_err(|failure| if wanted.file.is_some() { failure } else { failure.in_options(&OPTIONS) })?;
    let state_of = |state: &Value| field(state, "provisioning_state");
    let mut waits = String::new();
    for _ in 0..wanted.wait {
        match state_of(&state).as_str() {
            "Succeeded" => break,
            "Failed" => {
                return Err(Failure::BadNews(format!("the deployment has failed: {}", field(&state, "errors"))));
            }
            _ => {}
        }
        let reason = field(&state, "reason");
        if reason != waits && !reason.is_empty() {
            stderr::line(&reason);
            waits = reason;
        }
        let version = state.get("version").and_then(Value::as_i64).unwrap_or_default();
        state = client.get(&format!("{path}?wait=1s&after_version={version}")).await?;
    }
    if wanted.wait > 0 && state_of(&state) != "Succeeded" {
        let reason = match field(&state, "reason") {
            reason if reason.is_empty() => reason,
            reason => format!(": {reason}"),
        };
        return Err(Failure::BadNews(format!("not ready after {} s: {}{reason}", wanted.wait, state_of(&state))));
    }
    output::thing(client, &state);
    Ok(())
}
