//! `trialog sweep`.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use super::http::{Body, encoded};
use super::models::pair;
use super::news::News;
use super::output::{self, Format, List, View, column, field};
use super::{Client, Failure, document, follow, reasons, streams, submit, summary};

/// Verbs of sweeps.
#[derive(Subcommand)]
pub enum Sweep {
    /// Submit a sweep document; its code folder is packed and uploaded.
    Submit(submit::Submit),
    /// List sweeps.
    List {
        /// Only those in this state.
        #[arg(long, default_value = "")]
        state: String,
        /// Only those that were archived.
        #[arg(long)]
        archived: bool,
        #[command(flatten)]
        view: View,
    },
    /// Show a sweep.
    Show {
        /// The sweep: its name, its id, or the beginning of that.
        sweep: String,
        /// The document in force, with its defaults, instead.
        #[arg(long)]
        spec: bool,
    },
    /// Follow a sweep until its end.
    Follow {
        /// The sweep: its name, its id, or the beginning of that.
        sweep: String,
    },
    /// Print a sweep's events, and those of its trials' runs, as they come.
    Events {
        /// The sweep: its name, its id, or the beginning of that.
        sweep: String,
        /// Go on behind this event id.
        #[arg(long)]
        from: Option<String>,
    },
    /// Make no new proposals; what runs goes on, or is held with its checkpoint.
    Pause {
        /// The sweep: its name, its id, or the beginning of that.
        sweep: String,
        /// Save the checkpoints of live trials and give their nodes back until the sweep goes on.
        #[arg(long)]
        checkpoint: bool,
    },
    /// Go on.
    Resume {
        /// The sweep: its name, its id, or the beginning of that.
        sweep: String,
    },
    /// Cancel it and its trials.
    Cancel {
        /// The sweep: its name, its id, or the beginning of that.
        sweep: String,
    },
    /// Free the name of one that has ended, and have lists pass it over; its id still reads it.
    Archive {
        /// The sweep: its name, its id, or the beginning of that.
        sweep: String,
    },
    /// Take an archived one back: it is listed again, under its name.
    Unarchive {
        /// Its id, or the beginning of that: see `trialog sweep list --archived`.
        sweep: String,
    },
    /// Delete one that has ended and that no version of a model comes from; lineage still tells of it.
    Delete {
        /// The sweep: its name, its id, or the beginning of that.
        sweep: String,
        /// Also the runs of its trials, with their metrics, logs and artifacts.
        #[arg(long)]
        runs: bool,
    },
    /// Raise the limits, also after the end.
    Extend {
        /// The sweep: its name, its id, or the beginning of that.
        sweep: String,
        /// The new total of trials.
        #[arg(long)]
        max_total_trials: Option<u32>,
        /// The new timeout, from the start.
        #[arg(long)]
        timeout_seconds: Option<f64>,
    },
    /// Change a sweep's limits, description or tags.
    Update(Update),
}

/// What to change of a sweep.
#[derive(Args)]
pub struct Update {
    /// The sweep: its name, its id, or the beginning of that.
    sweep: String,
    /// Another description.
    #[arg(long)]
    description: Option<String>,
    /// NAME=VALUE, instead of all tags that it has; may be repeated.
    #[arg(long = "tag", value_parser = pair)]
    tags: Vec<(String, String)>,
    /// PATH=VALUE, e.g. limits.max_concurrent_trials=8; may be repeated.
    #[arg(long)]
    set: Vec<String>,
}

impl Update {
    fn document(&self) -> Result<document::Document, Failure> {
        let mut document = document::empty();
        if let Some(description) = &self.description {
            document.set("description", documents::Tree::Text(description.clone()))?;
        }
        for (name, value) in &self.tags {
            document.set_in(&["tags", name], documents::Tree::Text(value.clone()))?;
        }
        self.set.iter().try_for_each(|change| document.set_text(change))?;
        Ok(document)
    }
}

/// Runs a verb.
pub async fn sweep(client: &Client, command: Sweep) -> Result<(), Failure> {
    let path = |sweep: &str, verb: &str| format!("sweeps/{}{verb}", encoded(sweep));
    let (sweep, verb, body) = match command {
        Sweep::Submit(wanted) => return submit::submit(client, wanted).await,
        Sweep::List { state, archived, view } => return list(client, &state, archived, &view).await,
        Sweep::Show { sweep, spec } => {
            if spec {
                output::only_text(client)?;
            }
            return summary::show(client, &client.get(&path(&sweep, "")).await?, spec);
        }
        Sweep::Follow { sweep } => return follow::follow(client, &sweep, News::default()).await,
        Sweep::Events { sweep, from } => {
            return streams::events(client, &path(&sweep, "/events"), from.as_deref()).await;
        }
        Sweep::Update(wanted) => {
            let body = wanted.document()?.body();
            output::thing(client, &client.send(Method::PATCH, &path(&wanted.sweep, ""), &body).await?);
            return Ok(());
        }
        Sweep::Delete { sweep, runs } => return delete(client, &path(&sweep, &format!("?runs={runs}"))).await,
        Sweep::Pause { sweep, checkpoint: false } => (sweep, ":pause", json!({})),
        Sweep::Pause { sweep, checkpoint: true } => (sweep, ":pause", json!({"mode": "checkpoint"})),
        Sweep::Resume { sweep } => (sweep, ":resume", json!({})),
        Sweep::Cancel { sweep } => (sweep, ":cancel", json!({})),
        Sweep::Archive { sweep } => return archive(client, &path(&sweep, ":archive")).await,
        Sweep::Unarchive { sweep } => (sweep, ":unarchive", json!({})),
        Sweep::Extend { sweep, max_total_trials, timeout_seconds } => {
            let mut body = serde_json::Map::new();
            body.extend(max_total_trials.map(|total| ("max_total_trials".to_owned(), json!(total))));
            body.extend(timeout_seconds.map(|seconds| ("timeout_seconds".to_owned(), json!(seconds))));
            (sweep, ":extend", body.into())
        }
    };
    let options = [
        ("/max_total_trials", "--max-total-trials"),
        ("/timeout_seconds", "--timeout-seconds"),
        ("/limits/max_total_trials", "--max-total-trials"),
        ("/limits/timeout_seconds", "--timeout-seconds"),
        ("/mode", "--checkpoint"),
    ];
    let answer = client.send(Method::POST, &path(&sweep, verb), &Body::Json(body)).await;
    summary::changed(client, &answer.map_err(|failure| failure.in_options(&options))?);
    Ok(())
}

/// Its id is all that leads to it from here on.
async fn archive(client: &Client, path: &str) -> Result<(), Failure> {
    let shown = client.send(Method::POST, path, &Body::Json(json!({}))).await?;
    output::describe(client, &shown, || {
        let (name, id) = (field(&shown, "name"), field(&shown, "sweep_id"));
        vec![format!("archived {name} ({id}): the name is free, the id still reads it")]
    });
    Ok(())
}

async fn delete(client: &Client, path: &str) -> Result<(), Failure> {
    let gone = client.send(Method::DELETE, path, &Body::None).await?;
    let id = field(&gone, "sweep_id");
    match client.format() {
        Format::Table | Format::Wide => output::line(&format!("deleted {} ({id})", field(&gone, "name"))),
        _ => output::thing_called(client, &gone, &id),
    }
    Ok(())
}

async fn list(client: &Client, state: &str, archived: bool, view: &View) -> Result<(), Failure> {
    let which = if archived { "archived" } else { "active" };
    let sweeps = client.get_all(&format!("sweeps?view={which}&state={}", encoded(state)), "sweeps").await;
    let sweeps = sweeps.map_err(|failure| failure.in_options(&[("/state", "--state")]))?;
    let columns = vec![
        column("name"),
        column("state"),
        column("trials")
            .at("proposals")
            .words(|row| format!("{}/{}", field(row, "proposals"), reasons::trial_limit(row))),
        column("best").at("best.value"),
        column("reason").within(Vec::new()).words(reasons::of_sweep).cut(),
        column("created").at("created_at").age(),
        column("sweep_id"),
        column("metric").at("primary_metric").wide(),
        column("experiment").wide(),
        column("cluster").wide(),
        column("started").at("started_at").age().wide(),
        column("ended").at("ended_at").age().wide(),
        column("archived").at("archived_at").age().wide(),
    ];
    let mut list = List::new("sweeps", columns);
    if archived {
        // By their names they are not found.
        list = list.named(column("sweep_id"));
    }
    output::list(client, &sweeps, list, view)
}
