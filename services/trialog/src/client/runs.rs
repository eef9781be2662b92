//! `trialog run`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::http::{Body, encoded};
use super::models::pair;
use super::output::{self, List, View, column};
use super::{Client, Failure, artifacts, code, metrics, resolve, streams};

/// Verbs of runs.
#[derive(Subcommand)]
pub enum Run {
    /// Create a run as a document says; with a `job` it is run on a cluster.
    Create {
        /// A JSON or YAML file.
        file: PathBuf,
    },
    /// List runs, the newest first.
    List(ListRuns),
    /// List what is nested in a run.
    Children {
        /// The run: its id, the beginning of it, SWEEP/INDEX or SWEEP/best.
        run: String,
        /// Also what is nested below its children.
        #[arg(long)]
        recursive: bool,
        #[command(flatten)]
        view: View,
    },
    /// Show a run.
    Show {
        /// The run: its id, the beginning of it, SWEEP/INDEX or SWEEP/best.
        run: String,
    },
    /// Change a run's name, add params and tags, or end one that its client drives.
    Update(UpdateRun),
    /// Print a run's logs.
    Logs {
        /// The run: its id, the beginning of it, SWEEP/INDEX or SWEEP/best.
        run: String,
        /// Go on until the run has ended, over restarts of the server too.
        #[arg(long, short)]
        follow: bool,
        /// Only this attempt.
        #[arg(long, default_value_t = 0)]
        attempt: u32,
        /// Only stdout, stderr or trialog.
        #[arg(long, default_value = "")]
        stream: String,
    },
    /// Print a run's events as they come.
    Events {
        /// The run: its id, the beginning of it, SWEEP/INDEX or SWEEP/best.
        run: String,
        /// Go on behind this event id.
        #[arg(long)]
        from: Option<String>,
    },
    /// List a run's metrics, or all points of them.
    Metrics(metrics::Metrics),
    /// List a run's artifacts.
    Artifacts {
        /// The run: its id, the beginning of it, SWEEP/INDEX or SWEEP/best.
        run: String,
        #[command(flatten)]
        view: View,
    },
    /// Download a run's artifacts.
    Download(artifacts::Download),
    /// Cancel a run.
    Cancel {
        /// The run: its id, the beginning of it, SWEEP/INDEX or SWEEP/best.
        run: String,
    },
}

/// Which runs to list.
#[derive(Args)]
pub struct ListRuns {
    /// Only those of this experiment.
    #[arg(long, default_value = "")]
    experiment: String,
    /// Only those of this sweep's trials: its name or its id.
    #[arg(long, default_value = "")]
    sweep: String,
    /// Only the children of this run.
    #[arg(long, default_value = "")]
    parent: String,
    /// Only those in this state.
    #[arg(long, default_value = "")]
    state: String,
    /// Only the newest so many, at most 1000.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    page_size: Option<u16>,
    #[command(flatten)]
    view: View,
}

/// What to change of a run.
#[derive(Args)]
pub struct UpdateRun {
    /// The run: its id, the beginning of it, SWEEP/INDEX or SWEEP/best.
    run: String,
    /// Another name.
    #[arg(long)]
    name: Option<String>,
    /// NAME=VALUE; may be repeated.
    #[arg(long = "param", value_parser = pair)]
    params: Vec<(String, String)>,
    /// NAME=VALUE; may be repeated.
    #[arg(long = "tag", value_parser = pair)]
    tags: Vec<(String, String)>,
    /// A tag to take away; may be repeated.
    #[arg(long = "remove-tag")]
    remove_tags: Vec<String>,
    /// Completed, Failed or Canceled: ends a run without a job.
    #[arg(long)]
    state: Option<String>,
}

impl UpdateRun {
    fn body(&self) -> Value {
        let map = |pairs: &[(String, String)]| {
            Value::Object(pairs.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect())
        };
        let fields = [
            ("name", json!(self.name)),
            ("state", json!(self.state)),
            ("params", map(&self.params)),
            ("tags", map(&self.tags)),
            ("remove_tags", json!(self.remove_tags)),
        ];
        let given = fields.into_iter().filter(|(_, value)| !output::is_empty(value));
        Value::Object(given.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
    }
}

/// Runs a verb.
pub async fn run(client: &Client, command: Run) -> Result<(), Failure> {
    let path = |run: &str, rest: &str| format!("runs/{}{rest}", encoded(run));
    match command {
        Run::Create { file } => {
            let answer = client.send(Method::POST, "runs", &code::with_job_code(client, &file).await?.body()).await?;
            output::thing(client, &answer);
        }
        Run::List(wanted) => list(client, wanted).await?,
        Run::Children { run, recursive, view } => {
            let run = resolve::run(client, &run).await?;
            let below = path(&run, &format!("/children?recursive={recursive}"));
            let runs = client.get_all(&below, "runs").await?;
            output::list(client, &runs, columns(), &view)?;
        }
        Run::Show { run } => {
            let run = resolve::run(client, &run).await?;
            let mut shown = client.get(&path(&run, "")).await?;
            if client.format() == output::Format::Table {
                // What the platform made of the run is for -o wide.
                shown["job"] = brief(&shown["job"]);
            }
            output::thing(client, &shown);
        }
        Run::Update(wanted) => {
            let run = resolve::run(client, &wanted.run).await?;
            let answer = client.send(Method::PATCH, &path(&run, ""), &Body::Json(wanted.body())).await;
            let answer = answer.map_err(|failure| failure.in_options(&[("/state", "--state"), ("/name", "--name")]))?;
            output::thing(client, &answer);
        }
        Run::Logs { run, follow, attempt, stream } => {
            let run = resolve::run(client, &run).await?;
            let query = format!("&attempt={attempt}&stream={}", encoded(&stream));
            let read = streams::logs(client, &run, &query, follow).await;
            read.map_err(|failure| failure.in_options(&[("/stream", "--stream"), ("/attempt", "--attempt")]))?;
        }
        Run::Events { run, from } => {
            let run = resolve::run(client, &run).await?;
            streams::events(client, &path(&run, "/events"), from.as_deref()).await?;
        }
        Run::Metrics(wanted) => metrics::metrics(client, wanted).await?,
        Run::Artifacts { run, view } => artifacts::list(client, &run, "", &view).await?,
        Run::Download(wanted) => artifacts::download(client, wanted).await?,
        Run::Cancel { run } => {
            let run = resolve::run(client, &run).await?;
            let answer = client.send(Method::POST, &path(&run, ":cancel"), &Body::Json(json!({}))).await?;
            output::thing(client, &answer);
        }
    }
    Ok(())
}

/// What people asked a job to be, in the words of its document.
fn brief(job: &Value) -> Value {
    let kept = ["cluster", "command", "resources", "max_retries", "timeout_seconds"];
    let wanted = |name: &str| job.get(name).filter(|value| !output::is_empty(value)).cloned();
    let fields = kept.iter().filter_map(|name| Some(((*name).to_owned(), wanted(name)?)));
    let mut fields: Map<String, Value> = fields.collect();
    let requirements = wanted("requirements").or_else(|| wanted("requirements_file"));
    let environment = [("python", wanted("python")), ("requirements", requirements)];
    let environment = environment.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let environment: Map<String, Value> = environment.collect();
    if !environment.is_empty() {
        fields.insert("environment".to_owned(), environment.into());
    }
    Value::Object(fields)
}

fn columns() -> List<'static> {
    let columns = vec![
        column("run_id"),
        column("name"),
        column("experiment"),
        column("state"),
        column("best_value"),
        column("last_value"),
        column("reason").cut(),
        column("attempt"),
        column("created").at("created_at").age(),
        column("ended").at("ended_at").age(),
        column("sweep_id").wide(),
        column("trial").at("trial_index").wide(),
        column("parent").at("parent_run_id").wide(),
        column("preemptions").wide(),
        column("started").at("started_at").age().wide(),
    ];
    List::new("runs", columns)
}

async fn list(client: &Client, wanted: ListRuns) -> Result<(), Failure> {
    let ListRuns { experiment, sweep, parent, state, page_size, view } = wanted;
    let parent = if parent.is_empty() { parent } else { resolve::run(client, &parent).await? };
    let options = [("experiment", &experiment), ("sweep", &sweep), ("parent", &parent), ("state", &state)];
    let query: Vec<String> = options.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let path = format!("runs?{}", query.join("&"));
    let runs = match page_size {
        Some(size) => client.get(&format!("{path}&page_size={size}")).await,
        None => client.get_all(&path, "runs").await,
    };
    let options = [("/experiment", "--experiment"), ("/parent", "--parent"), ("/state", "--state")];
    let runs = runs.map_err(|failure| failure.in_options(&options))?;
    output::list(client, &runs, columns(), &view)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn a_job_is_shown_in_the_words_of_its_document() {
        // What is copied from one run's view into the next document must be taken.
        let job = json!({"cluster": "spot", "command": ["x"], "python": "3.11", "requirements": [], "code_sha256": "a",
            "requirements_file": "deps.txt", "max_retries": 0, "timeout_seconds": 0.0});
        let shown = super::brief(&job);
        assert_eq!(shown["environment"], json!({"python": "3.11", "requirements": "deps.txt"}));
        assert_eq!(shown.as_object().unwrap().len(), 5, "{shown}");
        assert!(super::brief(&json!({"cluster": "spot", "python": ""})).get("environment").is_none());
    }
}
