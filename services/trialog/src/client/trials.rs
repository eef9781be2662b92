//! `trialog trial`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::http::{Body, encoded};
use super::output::{self, Column, List, View, column, entries, field, is_empty};
use super::{Client, Failure, reasons, resolve, stderr};

/// The column of the objective, where there is one.
const VALUE: &str = "value";

/// Columns that a list of trials has of itself; a parameter of the same name is called by its path.
const OWN: [&str; 16] = [
    "index",
    "state",
    VALUE,
    "feasible",
    "steps",
    "reason",
    "last_value",
    "attempt",
    "preemptions",
    "decision",
    "created",
    "ended",
    "run_id",
    "trial",
    "missing",
    "values",
];

/// Verbs of trials.
#[derive(Subcommand)]
pub enum Trial {
    /// List a sweep's trials.
    List {
        /// The sweep: its name, its id, or the beginning of that.
        sweep: String,
        /// Only those in this state.
        #[arg(long, default_value = "")]
        state: String,
        #[command(flatten)]
        view: View,
    },
    /// Show a trial.
    Show {
        /// The trial: SWEEP/INDEX, SWEEP/best, or the id of its run.
        trial: String,
    },
    /// Show trials side by side.
    Compare {
        /// The trial: SWEEP/INDEX, SWEEP/best, or the id of its run.
        #[arg(required = true, num_args = 2..)]
        trials: Vec<String>,
        #[command(flatten)]
        view: View,
    },
    /// Ask an external sweep for trials to run.
    Ask {
        /// The sweep: its name, its id, or the beginning of that.
        sweep: String,
        /// How many; fewer may come.
        #[arg(long, default_value_t = 1)]
        count: u32,
        /// Who runs them, for people to read.
        #[arg(long, default_value = "")]
        worker: String,
        /// For how long they are held without a word.
        #[arg(long)]
        lease_seconds: Option<f64>,
    },
    /// Tell what a trial of an external sweep gives.
    Tell(Tell),
    /// Hold a trial of an external sweep for longer.
    Heartbeat {
        /// The trial: SWEEP/INDEX, SWEEP/best, or the id of its run.
        trial: String,
        /// The attempt, as `ask` gave it.
        #[arg(long)]
        attempt: u32,
    },
}

/// What a trial of an external sweep gives.
#[derive(Args)]
pub struct Tell {
    /// The trial: SWEEP/INDEX, SWEEP/best, or the id of its run.
    trial: String,
    /// The attempt, as `ask` gave it.
    #[arg(long)]
    attempt: u32,
    /// The value of the objective; NaN and Infinity are values too.
    #[arg(long, allow_hyphen_values = true, required_unless_present_any = ["values", "failed"])]
    value: Option<f64>,
    /// METRIC=VALUE, where several are watched; may be repeated.
    #[arg(long = "metric", value_parser = measured, conflicts_with = "value")]
    values: Vec<(String, f64)>,
    /// The step; default: the one after the last.
    #[arg(long)]
    step: Option<i64>,
    /// It is the last value: the trial has completed.
    #[arg(long = "final", conflicts_with = "failed")]
    is_final: bool,
    /// The trial could not be evaluated, and why.
    #[arg(long, value_name = "WHY", conflicts_with_all = ["value", "values"])]
    failed: Option<String>,
}

fn measured(text: &str) -> Result<(String, f64), String> {
    let wrong = || format!("{text:?} is not METRIC=VALUE");
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    Ok((name.to_owned(), value.parse().map_err(|_| wrong())?))
}

/// A number as JSON; what is none as its text.
fn number(value: f64) -> Value {
    match value {
        _ if value.is_nan() => "NaN".into(),
        _ if value.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        _ => json!(value),
    }
}

impl Tell {
    fn body(&self) -> Value {
        let mut body = json!({ "attempt": self.attempt, "final": self.is_final });
        if let Some(value) = self.value {
            body["value"] = number(value);
        }
        if !self.values.is_empty() {
            body["values"] = Value::Object(self.values.iter().map(|(name, v)| (name.clone(), number(*v))).collect());
        }
        if let Some(step) = self.step {
            body["step"] = json!(step);
        }
        if let Some(why) = &self.failed {
            body["state"] = json!("failed");
            body["reason"] = json!(why);
        }
        body
    }
}

/// Runs a verb.
pub async fn trial(client: &Client, command: Trial) -> Result<(), Failure> {
    match command {
        Trial::List { sweep, state, view } => list(client, &sweep, &state, &view).await,
        Trial::Show { trial } => {
            let mut shown = client.get(&path(client, &trial, "").await?).await?;
            if !client.format().is_document() {
                shown["reason"] = reasons::of_trial(&shown).into();
                shown["stop"] = Value::Null;
            }
            // What was imported has no run.
            let run = field(&shown, "run_id");
            output::thing_called(client, &shown, if run.is_empty() { &trial } else { &run });
            Ok(())
        }
        Trial::Compare { trials, view } => compare(client, &trials, &view).await,
        Trial::Ask { sweep, count, worker, lease_seconds } => {
            let mut body = json!({ "count": count, "worker": worker });
            if let Some(seconds) = lease_seconds {
                body["lease_seconds"] = json!(seconds);
            }
            let options = [("/count", "--count"), ("/lease_seconds", "--lease-seconds"), ("/worker", "--worker")];
            let path = format!("sweeps/{}/trials:ask", encoded(&sweep));
            let answer = client.send(Method::POST, &path, &Body::Json(body)).await;
            asked(client, &sweep, &answer.map_err(|failure| failure.in_options(&options))?)
        }
        Trial::Tell(tell) => {
            let path = path(client, &tell.trial, ":tell").await?;
            let options =
                [("/value", "--value"), ("/step", "--step"), ("/attempt", "--attempt"), ("/values", "--metric")];
            let answer = client.send(Method::POST, &path, &Body::Json(tell.body())).await;
            output::thing_called(client, &answer.map_err(|failure| failure.in_options(&options))?, &tell.trial);
            Ok(())
        }
        Trial::Heartbeat { trial, attempt } => {
            let path = path(client, &trial, ":heartbeat").await?;
            let answer = client.send(Method::POST, &path, &Body::Json(json!({ "attempt": attempt }))).await;
            let answer = answer.map_err(|failure| failure.in_options(&[("/attempt", "--attempt")]))?;
            output::thing_called(client, &answer, &trial);
            Ok(())
        }
    }
}

async fn path(client: &Client, called: &str, rest: &str) -> Result<String, Failure> {
    let (sweep, index) = resolve::trial(client, called).await?;
    Ok(format!("sweeps/{}/trials/{index}{rest}", encoded(&sweep)))
}

fn asked(client: &Client, sweep: &str, answer: &Value) -> Result<(), Failure> {
    let columns = vec![
        column("index"),
        column("attempt"),
        column("parameters"),
        column("resume"),
        column("donor").wide(),
        column("lease_expires_at"),
    ];
    if entries(answer, "trials").next().is_none() && !client.format().is_document() {
        stderr::line(&format!("no trial now: {}", field(answer, "state")));
    }
    output::list(client, answer, List::new("trials", columns).named(called(sweep)), &View::default())
}

async fn list(client: &Client, sweep: &str, state: &str, view: &View) -> Result<(), Failure> {
    let path = format!("sweeps/{}", encoded(sweep));
    let trials = client.get_all(&format!("{path}/trials?state={}", encoded(state)), "trials").await;
    let trials = trials.map_err(|failure| failure.in_options(&[("/state", "--state")]))?;
    let shown = client.get(&path).await?;
    let name = field(&shown, "name");
    let list = List::new("trials", columns(&shown, &trials)).named(called(&name));
    let view = best_first(view, &list.columns);
    output::list(client, &trials, list, &view)
}

/// Whoever asks for so many trials and no order means the best of them, where there is one order of value.
fn best_first(view: &View, columns: &[Column<'_>]) -> View {
    let has_value = columns.iter().any(|column| column.name() == VALUE);
    let sort = view.sort.clone().or_else(|| (view.top.is_some() && has_value).then(|| VALUE.to_owned()));
    View { sort, ..view.clone() }
}

/// SWEEP/INDEX.
fn called(sweep: &str) -> Column<'_> {
    column("trial").within(Vec::new()).words(move |row| format!("{sweep}/{}", field(row, "index")))
}

fn columns(sweep: &Value, trials: &Value) -> Vec<Column<'static>> {
    let is_better_larger = field(sweep, "goal") == "maximize";
    let mut columns = vec![column("index"), column("state")];
    let metrics = names(trials, "values");
    if metrics.is_empty() {
        columns.push(column(VALUE).at("best_value").words(reasons::value).descending(is_better_larger));
    } else {
        columns.extend(metrics.into_iter().map(|metric| of("values", metric)));
        columns.push(column("feasible"));
    }
    columns.push(column("steps").at("intervals"));
    columns.extend(names(trials, "parameters").into_iter().map(|parameter| of("parameters", parameter)));
    // What no trial has drawn yet is a parameter too: it is there for whoever names it.
    let drawn = names(trials, "parameters");
    let space = sweep.pointer("/spec/search_space").and_then(Value::as_object);
    let others = space.into_iter().flat_map(|space| space.keys()).filter(|name| !drawn.contains(name));
    columns.extend(others.map(|parameter| of("parameters", parameter.clone()).wide()));
    columns.extend([
        column("reason").within(Vec::new()).words(reasons::of_row).cut(),
        column("last_value").descending(is_better_larger).wide(),
        column("attempt").wide(),
        column("preemptions").wide(),
        column("missing").within(Vec::new()).words(|row| reasons::lost(row).join(", ")).wide(),
        column("decision").wide(),
        column("created").at("created_at").age().wide(),
        column("ended").at("ended_at").age().wide(),
        column("run_id"),
    ]);
    columns
}

/// A column of its own for what a map has; by its path where the name is taken.
fn of(map: &str, name: String) -> Column<'static> {
    let shown = if OWN.contains(&name.as_str()) { format!("{map}.{name}") } else { name.clone() };
    column(&shown).within(vec![map.to_owned(), name])
}

/// All names in a map of the rows, in the order in which they come.
fn names(trials: &Value, map: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for row in entries(trials, "trials") {
        for name in row.get(map).and_then(Value::as_object).into_iter().flat_map(|map| map.keys()) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
}

/// A row for each thing that trials have, and a column for each trial.
async fn compare(client: &Client, called: &[String], view: &View) -> Result<(), Failure> {
    let mut trials = Vec::new();
    for name in called {
        trials.push((name.clone(), client.get(&path(client, name, "").await?).await?));
    }
    let rows = compared(&trials);
    let mut columns = vec![column("field")];
    columns.extend(called.iter().map(|name| column(name).within(vec![name.clone()])));
    output::list(client, &json!({ "fields": rows }), List::new("fields", columns), view)
}

fn compared(trials: &[(String, Value)]) -> Vec<Value> {
    type Look = fn(&Value) -> Value;
    let looks: [(&str, Look); 6] = [
        ("state", |trial| trial["state"].clone()),
        ("value", |trial| {
            let value = &trial["best_value"];
            if value.is_null() { reasons::value(trial).into() } else { value.clone() }
        }),
        ("last_value", |trial| trial["last_value"].clone()),
        ("steps", |trial| trial["intervals"].clone()),
        ("reason", |trial| reasons::of_row(trial).into()),
        ("attempts", |trial| trial["attempt"].clone()),
    ];
    let mut rows: Vec<(String, Vec<Value>)> = looks
        .iter()
        .map(|(name, look)| ((*name).to_owned(), trials.iter().map(|(_, trial)| look(trial)).collect()))
        .collect();
    for map in ["values", "parameters"] {
        let all: BTreeMap<&String, ()> = trials
            .iter()
            .flat_map(|(_, trial)| trial[map].as_object().into_iter().flat_map(|map| map.keys()))
            .map(|name| (name, ()))
            .collect();
        rows.extend(
            all.into_keys().map(|name| {
                (format!("{map}.{name}"), trials.iter().map(|(_, trial)| trial[map][name].clone()).collect())
            }),
        );
    }
    let filled = rows.into_iter().filter(|(_, cells)| cells.iter().any(|cell| !is_empty(cell)));
    let row = filled.map(|(name, cells)| {
        let cells = trials.iter().map(|(trial, _)| trial.clone()).zip(cells);
        Value::Object(std::iter::once(("field".to_owned(), name.into())).chain(cells).collect())
    });
    row.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_no_trial_has_drawn_is_a_column_too() {
        let sweep = json!({"goal": "minimize", "spec": {"search_space": {"kind": {}, "alpha": {}}}});
        let trials = json!({"trials": [{"index": 0, "parameters": {"kind": "plain"}}]});
        let list = List::new("trials", columns(&sweep, &trials));
        let view = View { columns: vec!["kind".to_owned(), "alpha".to_owned()], ..View::default() };
        let chosen = list.chosen(&trials, &view, false).unwrap_or_else(|failure| panic!("{failure:?}"));
        let cells: Vec<String> = chosen.iter().map(|column| column.exact(&trials["trials"][0])).collect();
        assert_eq!(cells, ["plain", ""]);
        let usual: Vec<_> = columns(&sweep, &trials).iter().map(|column| column.name().to_owned()).collect();
        assert_eq!(usual.iter().filter(|name| *name == "kind" || *name == "alpha").count(), 2, "each once: {usual:?}");
    }

    #[test]
    fn a_told_value_need_be_no_number() {
        let tell = |value: Option<f64>, failed: Option<&str>| Tell {
            trial: "a/0".to_owned(),
            attempt: 2,
            value,
            values: Vec::new(),
            step: None,
            is_final: true,
            failed: failed.map(str::to_owned),
        };
        assert_eq!(tell(Some(f64::NAN), None).body(), json!({"attempt": 2, "final": true, "value": "NaN"}));
        assert_eq!(tell(Some(f64::NEG_INFINITY), None).body()["value"], json!("-Infinity"));
        let failed = tell(None, Some("no memory")).body();
        assert_eq!((&failed["state"], &failed["reason"]), (&json!("failed"), &json!("no memory")));
    }

    #[test]
    fn trials_are_compared_by_what_any_of_them_has() {
        let trials = [
            ("a/0".to_owned(), json!({"state": "Completed", "best_value": 0.5, "parameters": {"lr": 0.1}})),
            ("a/1".to_owned(), json!({"state": "Failed", "reason": "run: exit code 1", "parameters": {"depth": 3}})),
        ];
        let rows = compared(&trials);
        let row = |name: &str| rows.iter().find(|row| row["field"] == name).cloned().unwrap_or_default();
        assert_eq!(row("value"), json!({"field": "value", "a/0": 0.5, "a/1": "no value"}));
        assert_eq!(row("parameters.depth"), json!({"field": "parameters.depth", "a/0": null, "a/1": 3}));
        assert_eq!(row("reason")["a/1"], "run: exit code 1");
        assert_eq!(row("last_value"), Value::Null, "nobody has one");
    }

    #[test]
    fn so_many_trials_are_the_best_of_them() {
        // `--top 4` that shows the first four, and not the best, is believed.
        let view = |sort: Option<&str>, top| View { sort: sort.map(str::to_owned), top, columns: Vec::new() };
        let one = columns(&json!({"goal": "maximize"}), &json!({"trials": [{"best_value": 0.5}]}));
        assert_eq!(best_first(&view(None, Some(4)), &one).sort.as_deref(), Some("value"));
        assert_eq!(best_first(&view(Some("index"), Some(4)), &one).sort.as_deref(), Some("index"));
        assert_eq!(best_first(&view(None, None), &one).sort, None);
        let several = columns(&json!({}), &json!({"trials": [{"values": {"loss": 0.5, "value": 1}}]}));
        assert_eq!(best_first(&view(None, Some(4)), &several).sort, None, "a metric of that name is no order");
    }

    #[test]
    fn a_parameter_is_a_column_and_never_hides_another() {
        let trials = json!({"trials": [{"parameters": {"lr": 0.1, "state": "a"}}, {"parameters": {"depth": 3}}]});
        assert_eq!(names(&trials, "parameters"), ["lr", "state", "depth"]);
        assert_eq!(of("parameters", "state".to_owned()).name(), "parameters.state");
        assert_eq!(of("parameters", "lr".to_owned()).name(), "lr");
    }
}
