//! `trialog whatif`: other stopping policies on recorded curves.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use documents::Format;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tuning::{Clock, Goal, PolicySpec, RecordedTrial, replay};

use super::http::{Body, encoded};
use super::output::{self, List, View, column, field};
use super::{Client, Common, Failure};

/// The forms of questions and answers, one a line.
const REQUEST: &str = "trialog.whatif.request/1";
/// See [`REQUEST`].
const ANSWER: &str = "trialog.whatif.answer/1";

/// Arguments of `trialog whatif`.
#[derive(Args)]
pub struct WhatIf {
    /// The sweep: its name, its id, or the beginning of that.
    sweep: Option<String>,
    /// A policy as in a sweep document, e.g. '{type: asha, max_resource: 52}'; may be repeated.
    #[arg(long)]
    policy: Vec<String>,
    /// Curves from a CSV file with the columns trial, step, value instead of a sweep. A trial that has fewer steps than
    /// the longest counts as cut there.
    #[arg(long, conflicts_with = "sweep")]
    curves: Option<PathBuf>,
    /// Of `--curves`: whether larger or smaller values are better.
    #[arg(long, value_enum, default_value_t)]
    goal: Direction,
    /// Run the trials in turn by so many workers, instead of in the recorded order.
    #[arg(long)]
    workers: Option<u32>,
    /// End after so many reports; goes with --workers.
    #[arg(long, requires = "workers")]
    max_reports: Option<u64>,
    /// Answer the questions of a file, one JSON document a line; `-` = the standard input.
    #[arg(long, conflicts_with_all = ["sweep", "curves", "policy"])]
    questions: Option<PathBuf>,
}

/// Which values are better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Direction {
    /// Larger ones.
    #[default]
    Maximize,
    /// Smaller ones.
    Minimize,
}

/// A question of the line format.
#[derive(Deserialize)]
struct Question {
    format: String,
    id: String,
    goal: Goal,
    max_concurrent_trials: u32,
    max_reports: u64,
    policy: Value,
    trials: Vec<Curve>,
}

/// Step, place in the file, value.
type Row = (i64, u64, f64);

#[derive(Deserialize)]
struct Curve {
    id: String,
    values: Vec<f64>,
}

impl WhatIf {
    /// Whether it needs no server.
    pub fn is_local(&self) -> bool {
        self.curves.is_some() || self.questions.is_some()
    }

    fn policies(&self) -> Result<Vec<PolicySpec>, Failure> {
        if self.policy.is_empty() {
            return Err(Failure::Usage(
                "--policy: at least one, e.g. --policy '{type: asha, max_resource: 52}'".into(),
            ));
        }
        self.policy.iter().map(|text| policy(text.as_bytes())).collect()
    }
}

fn policy(text: &[u8]) -> Result<PolicySpec, Failure> {
    let read = sweeps::document::read_policy(text, Format::Yaml);
    read.map_err(|problem| Failure::Usage(format!("--policy {}: {problem}", String::from_utf8_lossy(text))))
}

/// Asks the server about a sweep.
pub async fn ask(client: &Client, arguments: WhatIf) -> Result<(), Failure> {
    let policies = arguments.policies()?;
    let Some(sweep) = arguments.sweep else {
        return Err(Failure::Usage("give a SWEEP, --curves FILE or --questions FILE".to_owned()));
    };
    let mut body = json!({ "policies": policies });
    if let Value::Object(fields) = &mut body {
        fields.extend(arguments.workers.map(|workers| ("workers".to_owned(), json!(workers))));
        fields.extend(arguments.max_reports.map(|most| ("max_reports".to_owned(), json!(most))));
    }
    let path = format!("sweeps/{}:whatif", encoded(&sweep));
    let answer = client.send(Method::POST, &path, &Body::Json(body)).await?;
    print(client.format(), &answer)
}

/// Answers without a server, from a file.
pub fn local(arguments: &WhatIf, common: &Common) -> Result<(), Failure> {
    if let Some(file) = &arguments.questions {
        return answer_all(file);
    }
    let Some(file) = &arguments.curves else { return Ok(()) };
    let curves = read_curves(file)?;
    let goal = if arguments.goal == Direction::Maximize { Goal::Maximize } else { Goal::Minimize };
    let clock = arguments.workers.map_or(Clock::Recorded, |workers| Clock::Workers {
        workers,
        max_reports: arguments.max_reports.unwrap_or(u64::MAX),
    });
    let policies = arguments.policies()?;
    let replayed = tuning::what_if(&policies, goal, &curves, clock);
    let answer = json!({"goal": goal, "trials": curves.len(), "clock": clock, "policies": replayed});
    print(common.format(), &answer)
}

fn open(file: &Path) -> Result<Box<dyn Read>, Failure> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    let opened = std::fs::File::open(file);
    Ok(Box::new(opened.map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?))
}

/// One answer a line, in the order of the questions.
fn answer_all(file: &Path) -> Result<(), Failure> {
    for (number, line) in (1_u32..).zip(BufReader::new(open(file)?).lines()) {
        let wrong = |what: String| Failure::Usage(format!("{}, line {number}: {what}", file.display()));
        let line = line.map_err(|error| wrong(error.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let question: Question = serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))?;
        if question.format != REQUEST {
            return Err(wrong(format!("format is {:?}, expected {REQUEST:?}", question.format)));
        }
        let policy = policy(question.policy.to_string().as_bytes())?;
        let clock = Clock::Workers { workers: question.max_concurrent_trials, max_reports: question.max_reports };
        let recorded = question.trials.into_iter().map(|curve| RecordedTrial {
            id: curve.id,
            values: curve.values,
            completed: true,
            ..RecordedTrial::default()
        });
        let replayed = replay(&policy, question.goal, &recorded.collect::<Vec<_>>(), clock);
        let mut answer = json!(replayed);
        if let Value::Object(fields) = &mut answer {
            fields.insert("format".to_owned(), json!(ANSWER));
            fields.insert("id".to_owned(), json!(question.id));
        }
        output::line_as_it_is(&answer.to_string());
    }
    Ok(())
}

/// The curves of a file with the columns trial, step, value; trials in order of their first row, and the rows in the
/// recorded order.
fn read_curves(file: &Path) -> Result<Vec<RecordedTrial>, Failure> {
    let mut lines = BufReader::new(open(file)?).lines();
    let wrong = |number: usize, what: &str| Failure::Usage(format!("{}, line {number}: {what}", file.display()));
    let header = lines.next().transpose().map_err(|error| wrong(1, &error.to_string()))?.unwrap_or_default();
    let names: Vec<&str> = header.split(',').map(str::trim).collect();
    let column = |name: &str| names.iter().position(|known| known.eq_ignore_ascii_case(name));
    let (Some(trial), Some(step), Some(value)) = (column("trial"), column("step"), column("value")) else {
        return Err(wrong(1, "the columns trial, step and value are needed"));
    };
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut rows: Vec<(String, Vec<Row>)> = Vec::new();
    for (number, line) in (2_usize..).zip(lines) {
        let line = line.map_err(|error| wrong(number, &error.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let cell = |column: usize| cells.get(column).copied().unwrap_or_default();
        let step = cell(step).parse().map_err(|_| wrong(number, "step is no integer"))?;
        let value = cell(value).parse().map_err(|_| wrong(number, "value is no number"))?;
        let place = *places.entry(cell(trial).to_owned()).or_insert_with(|| {
            rows.push((cell(trial).to_owned(), Vec::new()));
            rows.len() - 1
        });
        rows[place].1.push((step, number as u64, value));
    }
    let longest = rows.iter().map(|(_, points)| points.len()).max().unwrap_or(0);
    let curves = rows.into_iter().map(|(id, mut points)| {
        // Stable: of equal steps the first row comes first.
        points.sort_by_key(|(step, ..)| *step);
        RecordedTrial {
            id,
            completed: points.len() == longest,
            values: points.iter().map(|(.., value)| *value).collect(),
            positions: points.iter().map(|(_, position, _)| *position).collect(),
            seconds: Vec::new(),
        }
    });
    Ok(curves.collect())
}

/// Columns as programs know them.
const CSV: [&str; 10] = [
    "policy",
    "reports_used",
    "reports_saved",
    "reports_saved_at_least",
    "node_seconds_saved",
    "regret_at_most",
    "winner_survives",
    "stopped",
    "unknown",
    "is_pareto",
];

/// What the columns of the table are.
const LEGEND: [&str; 5] = [
    "USED, SAVED: reports of the trials; AT_LEAST: saved less what cut curves could have gone on for",
    "REGRET: how much worse the best that is left is than the best recorded, at most",
    "BEST_FOUND: the best recorded value would still be reached; STOPPED: how many trials would be stopped",
    "UNKNOWN: trials that the policy would have let go on beyond what was recorded",
    "PARETO: no other policy here saves more and regrets less",
];

fn print(format: output::Format, answer: &Value) -> Result<(), Failure> {
    if matches!(format, output::Format::Table | output::Format::Wide) {
        let (trials, goal) = (field(answer, "trials"), field(answer, "goal"));
        output::line(&format!("{trials} trials, {goal}, clock {}", field(answer, "clock")));
    }
    let mut columns = vec![
        column("policy").cut(),
        column("used").at("reports_used"),
        column("saved").at("reports_saved"),
        column("at_least").at("reports_saved_at_least"),
        column("regret").at("regret_at_most"),
        column("best_found").at("winner_survives"),
        column("stopped"),
        column("unknown"),
        column("pareto").at("is_pareto"),
        column("node_seconds_saved").wide(),
    ];
    if format == output::Format::Csv {
        columns = CSV.map(column).into();
    }
    output::list_as(format, answer, List::new("policies", columns), &View::default())?;
    if matches!(format, output::Format::Table | output::Format::Wide) {
        output::lines(&LEGEND.map(str::to_owned));
    }
    Ok(())
}
