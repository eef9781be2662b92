//! `trialog run`.

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::json;

use super::http::{Body, encoded};
use super::{Client, Failure, document, show};

/// Verbs of runs.
#[derive(Subcommand)]
pub enum Run {
    /// Create a run as a document says; with a `job` it is run on a cluster.
    Create {
        /// A JSON or YAML file.
        file: PathBuf,
    },
    /// List runs, the newest first.
    List {
        /// Only those of this experiment.
        #[arg(long, default_value = "")]
        experiment: String,
        /// Only the children of this run.
        #[arg(long, default_value = "")]
        parent: String,
        /// Only those in this state.
        #[arg(long, default_value = "")]
        state: String,
        /// Only the newest so many, at most 1000.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
        page_size: Option<u16>,
    },
    /// Show a run.
    Show {
        /// Its id.
        run: String,
    },
    /// Print a run's logs.
    Logs {
        /// Its id.
        run: String,
        /// Go on until the run has ended.
        #[arg(long, short)]
        follow: bool,
    },
    /// List a run's metrics.
    Metrics {
        /// Its id.
        run: String,
    },
    /// List a run's artifacts.
    Artifacts {
        /// Its id.
        run: String,
    },
    /// Cancel a run.
    Cancel {
        /// Its id.
        run: String,
    },
}

/// Runs a verb.
pub async fn run(client: &Client, command: Run) -> Result<(), Failure> {
    let path = |run: &str, rest: &str| format!("runs/{}{rest}", encoded(run));
    match command {
        Run::Create { file } => {
            let answer = client.send(Method::POST, "runs", &document::read(&file)?.body()).await?;
            show::thing(client, &answer);
        }
        Run::List { experiment, parent, state, page_size } => {
            let (experiment, parent, state) = (encoded(&experiment), encoded(&parent), encoded(&state));
            let path = format!("runs?experiment={experiment}&parent={parent}&state={state}");
            let runs = match page_size {
                Some(size) => client.get(&format!("{path}&page_size={size}")).await?,
                None => client.get_all(&path, "runs").await?,
            };
            let columns = ["run_id", "name", "experiment", "state", "attempt", "created_at", "ended_at"];
            show::list(client, &runs, "runs", &columns);
        }
        Run::Show { run } => show::thing(client, &client.get(&path(&run, "")).await?),
        Run::Logs { run, follow } => logs(client, &run, follow).await?,
        Run::Metrics { run } => {
            let metrics = client.get(&path(&run, "/metrics")).await?;
            show::list(client, &metrics, "metrics", &["name", "count", "last", "last_step", "min", "max"]);
        }
        Run::Artifacts { run } => {
            let artifacts = client.get_all(&path(&run, "/artifacts"), "artifacts").await?;
            show::list(client, &artifacts, "artifacts", &["path", "size_bytes", "sha256"]);
        }
        Run::Cancel { run } => {
            let answer = client.send(Method::POST, &path(&run, ":cancel"), &Body::Json(json!({}))).await?;
            show::thing(client, &answer);
        }
    }
    Ok(())
}

async fn logs(client: &Client, run: &str, follow: bool) -> Result<(), Failure> {
    let path = format!("/workspaces/{}/runs/{}/logs?follow={follow}", encoded(client.workspace()), encoded(run));
    let mut stream = client.open(Method::GET, &path, &Body::None).await?.bytes_stream();
    let mut out = std::io::stdout().lock();
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.map_err(|error| Failure::NoServer(format!("the log broke off: {error}")))?;
        // A reader that has gone (`| head`) ends the command without a complaint.
        if out.write_all(&bytes).and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
