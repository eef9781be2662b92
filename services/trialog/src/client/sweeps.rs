//! `trialog sweep` and `trialog trial`.

use std::path::PathBuf;

use clap::Subcommand;
use documents::Tree;
use reqwest::Method;
use serde_json::{Value, json};

use super::http::{Body, encoded};
use super::{Client, Failure, code, document, follow, python, show};

/// Verbs of sweeps.
#[derive(Subcommand)]
pub enum Sweep {
    /// Submit a sweep document; its code folder is packed and uploaded.
    Submit {
        /// A JSON or YAML file; `-` = the standard input.
        file: PathBuf,
        /// Change a value of the document: PATH=VALUE, e.g. limits.max_total_trials=10; may be repeated.
        #[arg(long)]
        set: Vec<String>,
        /// Check only; nothing is written.
        #[arg(long)]
        dry_run: bool,
        /// Treat warnings as errors.
        #[arg(long)]
        strict: bool,
        /// Follow it until its end.
        #[arg(long)]
        follow: bool,
    },
    /// List sweeps.
    List {
        /// Only those in this state.
        #[arg(long, default_value = "")]
        state: String,
    },
    /// Show a sweep.
    Show {
        /// Its id or name.
        sweep: String,
    },
    /// Follow a sweep until its end.
    Follow {
        /// Its id or name.
        sweep: String,
    },
    /// Make no new proposals; what runs goes on, or is held with its checkpoint.
    Pause {
        /// Its id or name.
        sweep: String,
        /// Save the checkpoints of live trials and give their nodes back until the sweep goes on.
        #[arg(long)]
        checkpoint: bool,
    },
    /// Go on.
    Resume {
        /// Its id or name.
        sweep: String,
    },
    /// Cancel it and its trials.
    Cancel {
        /// Its id or name.
        sweep: String,
    },
    /// Free the name of one that has ended, and have lists pass it over; its id still reads it.
    Archive {
        /// Its id or name.
        sweep: String,
    },
    /// Raise the limits, also after the end.
    Extend {
        /// Its id or name.
        sweep: String,
        /// The new total of trials.
        #[arg(long)]
        max_total_trials: Option<u32>,
        /// The new timeout, from the start.
        #[arg(long)]
        timeout_seconds: Option<f64>,
    },
}

/// Verbs of trials.
#[derive(Subcommand)]
pub enum Trial {
    /// List a sweep's trials.
    List {
        /// The sweep's id or name.
        sweep: String,
        /// Only those in this state.
        #[arg(long, default_value = "")]
        state: String,
    },
    /// Show a trial.
    Show {
        /// SWEEP/INDEX.
        trial: String,
    },
}

/// Runs a verb.
pub async fn sweep(client: &Client, command: Sweep) -> Result<(), Failure> {
    let path = |sweep: &str, verb: &str| format!("sweeps/{}{verb}", encoded(sweep));
    let (sweep, verb, body) = match command {
        Sweep::Submit { file, set, dry_run, strict, follow } => {
            return submit(client, &file, &set, (dry_run, strict, follow)).await;
        }
        Sweep::List { state } => {
            let sweeps = client.get_all(&format!("sweeps?state={}", encoded(&state)), "sweeps").await?;
            let columns =
                ["sweep_id", "name", "state", "reason", "proposals", "max_total_trials", "best.value", "created_at"];
            show::list(client, &sweeps, "sweeps", &columns);
            return Ok(());
        }
        Sweep::Show { sweep } => {
            show_sweep(client, client.get(&path(&sweep, "")).await?);
            return Ok(());
        }
        Sweep::Follow { sweep } => return follow::follow(client, &sweep).await,
        Sweep::Pause { sweep, checkpoint: false } => (sweep, ":pause", json!({})),
        Sweep::Pause { sweep, checkpoint: true } => (sweep, ":pause", json!({"mode": "checkpoint"})),
        Sweep::Resume { sweep } => (sweep, ":resume", json!({})),
        Sweep::Cancel { sweep } => (sweep, ":cancel", json!({})),
        Sweep::Archive { sweep } => (sweep, ":archive", json!({})),
        Sweep::Extend { sweep, max_total_trials, timeout_seconds } => {
            let mut body = serde_json::Map::new();
            body.extend(max_total_trials.map(|total| ("max_total_trials".to_owned(), json!(total))));
            body.extend(timeout_seconds.map(|seconds| ("timeout_seconds".to_owned(), json!(seconds))));
            (sweep, ":extend", body.into())
        }
    };
    let answer = client.send(Method::POST, &path(&sweep, verb), &Body::Json(body)).await?;
    show::thing(client, &answer);
    Ok(())
}

/// A sweep; the trials of its front are a table below it.
fn show_sweep(client: &Client, mut sweep: Value) {
    let front = sweep.as_object_mut().filter(|_| !client.is_json()).and_then(|fields| fields.remove("pareto"));
    show::thing(client, &sweep);
    if let Some(front) = front.filter(|front| !show::is_empty(front)) {
        println!();
        show::list(client, &json!({"pareto": front}), "pareto", &["trial_index", "values", "parameters", "run_id"]);
    }
}

async fn submit(
    client: &Client,
    file: &std::path::Path,
    set: &[String],
    (dry_run, strict, follows): (bool, bool, bool),
) -> Result<(), Failure> {
    let mut document = document::read(file)?;
    for change in set {
        document.set_text(change)?;
    }
    let folder = document.text("trial.code").filter(|code| !code.starts_with("sha256:")).map(PathBuf::from);
    let code_folder = document.folder.join(folder.clone().unwrap_or_default());
    if folder.is_some() {
        let hash = code::upload(client, &code_folder).await?;
        document.set("trial.code", Tree::Text(hash))?;
    }
    let path = format!("sweeps?dry_run={dry_run}&strict={strict}");
    let mut answer = client.send(Method::POST, &path, &document.body()).await?;
    if dry_run {
        python::describe(&document, &code_folder, &mut answer);
        show::thing(client, &answer);
    } else {
        show::submitted(client, &answer);
    }
    if follows && !dry_run {
        return follow::follow(client, &show::field(&answer, "id")).await;
    }
    Ok(())
}

/// Runs a verb.
pub async fn trial(client: &Client, command: Trial) -> Result<(), Failure> {
    match command {
        Trial::List { sweep, state } => {
            let path = format!("sweeps/{}/trials?state={}", encoded(&sweep), encoded(&state));
            let mut trials = client.get_all(&path, "trials").await?;
            let rows = trials.get("trials").and_then(Value::as_array);
            let several = rows.into_iter().flatten().any(|row| !show::is_empty(&row["values"]));
            if !client.is_json() {
                in_words(&mut trials, several);
            }
            let measured: &[&str] = if several { &["values", "feasible"] } else { &["best_value"] };
            let rest = ["intervals", "attempt", "decision", "reason", "parameters", "run_id"];
            let columns = [&["index", "state"], measured, &rest].concat();
            show::list(client, &trials, "trials", &columns);
        }
        Trial::Show { trial } => {
            let (sweep, index) = split(&trial)?;
            show::thing(client, &client.get(&format!("sweeps/{}/trials/{index}", encoded(sweep))).await?);
        }
    }
    Ok(())
}

/// What a trial's row says of a result that is not there, and of a failure.
fn in_words(trials: &mut Value, several: bool) {
    for trial in trials.get_mut("trials").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(words) = show::no_value(trial).filter(|_| !several) {
            trial["best_value"] = words.into();
        }
        trial["reason"] = show::failure(trial).into();
    }
}

/// SWEEP/INDEX.
pub fn split(trial: &str) -> Result<(&str, u32), Failure> {
    trial
        .rsplit_once('/')
        .and_then(|(sweep, index)| Some((sweep, index.parse().ok()?)))
        .ok_or_else(|| Failure::Usage(format!("{trial:?} is not SWEEP/INDEX, e.g. digits/3")))
}
