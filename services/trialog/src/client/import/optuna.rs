//! Trials from an Optuna study in SQLite, as Optuna 3 to 5 write it.

use std::collections::BTreeMap;
use std::path::Path;

use documents::{Node, Tree};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};

use super::tree::{integer, map, node, number, text};
use crate::client::Failure;

mod conditions;

use conditions::{Seen, Shown};

/// Most values of a choice that the server takes.
const CHOICE_VALUES_MAX: f64 = 1000.0;
/// A step may be off by this part of itself, as decimal steps are in doubles.
const NEAR: f64 = 1e-9;
/// Longest name of a parameter.
const NAME_LENGTH_MAX: usize = 64;

/// What was read.
pub struct Study {
    /// The table to send.
    pub table: Node,
    /// What is not in it as it was, for people.
    pub notes: Vec<String>,
}

/// A parameter with all that the trials say about it.
struct Parameter {
    name: String,
    range: Range,
}

/// Where the values of a parameter come from.
#[derive(Clone, Debug, PartialEq)]
enum Range {
    /// Optuna's choices; a trial has the number of one.
    Choices(Vec<Value>),
    /// Numbers.
    Numbers { low: f64, high: f64, step: Option<f64>, log: bool, whole: bool },
}

/// How the values of a parameter are written in a sweep.
enum Written {
    /// A value for each of Optuna's choices.
    Choices(Vec<Node>),
    /// The nearest of these: Optuna's rounding of a step may differ from ours in the last digit.
    Nearest(Vec<f64>),
    /// The numbers themselves.
    Numbers,
}

/// Reads a study. Which one must be said when the file has several. `metrics` are the names of its objectives; without
/// any those that the study has, if it has some.
pub async fn read(file: &Path, study: Option<&str>, metrics: &[String]) -> Result<Study, Failure> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let found = async {
        let mut connection = options.connect().await?;
        let known: Vec<(i64, String)> = sqlx::query_as("SELECT study_id, study_name FROM studies ORDER BY study_id")
            .fetch_all(&mut connection)
            .await?;
        Ok::<_, sqlx::Error>((connection, known))
    };
    let place = |error: sqlx::Error| {
        Failure::Usage(format!("{}: not a SQLite file of Optuna 3 to 5 ({error})", file.display()))
    };
    let (mut connection, known) = found.await.map_err(place)?;
    let names: Vec<&str> = known.iter().map(|(_, name)| name.as_str()).collect();
    let chosen = match study {
        Some(wanted) => known.iter().find(|(_, name)| name == wanted),
        None if known.len() == 1 => known.first(),
        None => None,
    };
    let Some((id, name)) = chosen else {
        let wrong = study.map_or_else(|| "say which --study".to_owned(), |study| format!("no study {study:?}"));
        return Err(Failure::Usage(format!("{}: {wrong}; there are {}", file.display(), names.join(", "))));
    };
    let goals = goals(&mut connection, *id).await.map_err(place)?;
    let metrics = match metrics {
        [] => metric_names(&mut connection, *id, goals.len()).await.map_err(place)?,
        given if given.len() == goals.len() => given.to_vec(),
        given => {
            let (count, given) = (goals.len(), given.len());
            let wrong =
                format!("study {name:?} has {count} objectives, and --metric names {given}; name each in order");
            return Err(Failure::Usage(wrong));
        }
    };
    let mut notes = Vec::new();
    let parameters = parameters(&mut connection, *id).await.map_err(place)?.map_err(Failure::Usage)?;
    let written = names_of(&parameters, &mut notes);
    let (raw, open) = raw_trials(&mut connection, *id).await.map_err(place)?;
    if open > 0 {
        notes.push(format!("{open} trials have not ended and are left out"));
    }
    let manners: Vec<(Node, Written)> =
        parameters.iter().map(|parameter| distribution(parameter, &mut notes)).collect();
    let shown = conditions_of(&parameters, &raw);
    let mut space = Vec::new();
    for (at, (distribution, _)) in manners.iter().enumerate() {
        space.push((written[at].clone(), with_conditions(distribution, &shown[at], &written, &manners)));
        if let Shown::Unexplained(count) = shown[at] {
            let name = &written[at];
            notes.push(format!("{count} trials lack {name}, and no other parameter tells which: it has no condition"));
        }
    }
    let known: BTreeMap<&str, (&str, &Written)> = (parameters.iter().zip(&written).zip(&manners))
        .map(|((parameter, name), (_, manner))| (parameter.name.as_str(), (name.as_str(), manner)))
        .collect();
    let trials = trials(&mut connection, *id, raw, &known, &metrics).await.map_err(place)?;
    let objectives = goals.iter().zip(&metrics);
    let objectives =
        objectives.map(|(goal, metric)| map(vec![("goal", text(*goal)), ("primary_metric", text(metric.as_str()))]));
    let table = map(vec![
        ("name", text(name.as_str())),
        ("objectives", node(Tree::List(objectives.collect()))),
        ("search_space", node(Tree::Map(space))),
        ("trials", node(Tree::List(trials))),
    ]);
    Ok(Study { table, notes })
}

/// What the study did with each of its objectives.
async fn goals(connection: &mut SqliteConnection, study: i64) -> Result<Vec<&'static str>, sqlx::Error> {
    let get = "SELECT direction FROM study_directions WHERE study_id = ? ORDER BY objective";
    let directions: Vec<String> = sqlx::query_scalar(get).bind(study).fetch_all(connection).await?;
    let goal = |direction: &String| if direction == "MAXIMIZE" { "maximize" } else { "minimize" };
    Ok(directions.iter().map(goal).collect())
}

/// The names that the study gives its objectives (`set_metric_names`), or ones of ours.
async fn metric_names(connection: &mut SqliteConnection, study: i64, count: usize) -> Result<Vec<String>, sqlx::Error> {
    let get = "SELECT value_json FROM study_system_attributes WHERE study_id = ? AND \"key\" = 'study:metric_names'";
    let stored: Option<String> = sqlx::query_scalar(get).bind(study).fetch_optional(connection).await?;
    let stored: Option<Vec<String>> = stored.and_then(|stored| serde_json::from_str(&stored).ok());
    let ours = || match count {
        1 => vec!["value".to_owned()],
        _ => (0..count).map(|place| format!("value_{place}")).collect(),
    };
    Ok(stored.filter(|stored| stored.len() == count).unwrap_or_else(ours))
}

/// All parameters in order of their first appearance; ranges that changed between trials are joined.
async fn parameters(
    connection: &mut SqliteConnection,
    study: i64,
) -> Result<Result<Vec<Parameter>, String>, sqlx::Error> {
    let query = "SELECT param_name, distribution_json FROM trial_params JOIN trials USING (trial_id)
                 WHERE study_id = ? GROUP BY param_name, distribution_json ORDER BY min(param_id)";
    let rows: Vec<(String, String)> = sqlx::query_as(query).bind(study).fetch_all(connection).await?;
    let mut found: Vec<Parameter> = Vec::new();
    for (name, json) in rows {
        let Some(range) = range(&json) else {
            return Ok(Err(format!("parameter {name:?}: unknown distribution {json}")));
        };
        match found.iter_mut().find(|known| known.name == name) {
            None => found.push(Parameter { name, range }),
            Some(known) => match joined(&known.range, &range) {
                Some(range) => known.range = range,
                None => return Ok(Err(format!("parameter {name:?} has another kind of values in some trials"))),
            },
        }
    }
    Ok(Ok(found))
}

fn range(json: &str) -> Option<Range> {
    let read: Value = serde_json::from_str(json).ok()?;
    let (name, attributes) = (read.get("name")?.as_str()?, read.get("attributes")?);
    let number = |field: &str| attributes.get(field).and_then(Value::as_f64);
    let log = attributes.get("log").and_then(Value::as_bool).unwrap_or(name.contains("LogUniform"));
    let whole = name.starts_with("Int");
    match name {
        "CategoricalDistribution" => Some(Range::Choices(attributes.get("choices")?.as_array()?.clone())),
        // The second row are the names that files of before Optuna 3 have.
        "FloatDistribution"
        | "IntDistribution"
        | "UniformDistribution"
        | "LogUniformDistribution"
        | "DiscreteUniformDistribution"
        | "IntUniformDistribution"
        | "IntLogUniformDistribution" => {
            let step = number("step").or_else(|| number("q")).filter(|_| !log);
            let step = if whole && !log { step.or(Some(1.0)) } else { step };
            Some(Range::Numbers { low: number("low")?, high: number("high")?, step, log, whole })
        }
        _ => None,
    }
}

fn joined(a: &Range, b: &Range) -> Option<Range> {
    match (a, b) {
        (
            Range::Numbers { low, high, step, log, whole },
            Range::Numbers { low: l, high: h, step: s, log: g, whole: w },
        ) => {
            // The values of both must be on the same steps.
            let aligned =
                |step: &f64| *s == Some(*step) && ((l - low) / step - ((l - low) / step).round()).abs() <= NEAR;
            let step = step.filter(aligned);
            (whole == w).then(|| Range::Numbers {
                low: low.min(*l),
                high: high.max(*h),
                // With different steps whole numbers have step 1, and others none.
                step: if *whole { step.or(Some(1.0)).filter(|_| !(*log && *g)) } else { step },
                log: *log && *g,
                whole: *whole,
            })
        }
        _ => (a == b).then(|| a.clone()),
    }
}

/// Names that a sweep takes: other characters become `_`.
fn names_of(parameters: &[Parameter], notes: &mut Vec<String>) -> Vec<String> {
    let mut taken: Vec<String> = Vec::with_capacity(parameters.len());
    for parameter in parameters {
        let allowed = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
        let mut name: String = parameter.name.chars().map(allowed).take(NAME_LENGTH_MAX).collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            name = format!("_{name}").chars().take(NAME_LENGTH_MAX).collect();
        }
        let plain = name.clone();
        let mut count = 2;
        // Names that differ in case or punctuation only would be one variable of a trial's environment.
        let form = |name: &str| name.to_ascii_uppercase().replace(['.', '-'], "_");
        while taken.iter().any(|other| form(other) == form(&name)) {
            name = format!("{}_{count}", plain.chars().take(NAME_LENGTH_MAX - 8).collect::<String>());
            count += 1;
        }
        if name != parameter.name {
            notes.push(format!("parameter {:?} is called {name}", parameter.name));
        }
        taken.push(name);
    }
    taken
}

/// The distribution in a sweep, and how values are written.
fn distribution(parameter: &Parameter, notes: &mut Vec<String>) -> (Node, Written) {
    match &parameter.range {
        Range::Choices(choices) => {
            let values = choice_values(&parameter.name, choices, notes);
            let distribution = map(vec![("type", text("choice")), ("values", node(Tree::List(values.clone())))]);
            (distribution, Written::Choices(values))
        }
        Range::Numbers { low, high, step, log, whole } => numbers(*low, *high, *step, *log, *whole),
    }
}

fn numbers(low: f64, high: f64, step: Option<f64>, log: bool, whole: bool) -> (Node, Written) {
    let of = |kind: &str, last: Option<(&'static str, Node)>| {
        let bound = |value: f64| if whole { integer(value) } else { number(value) };
        let mut fields = vec![("type", text(kind)), ("min_value", bound(low)), ("max_value", bound(high))];
        fields.extend(last);
        (map(fields), Written::Numbers)
    };
    let listed = |values: Vec<f64>| {
        let nodes = values.iter().map(|value| number(*value)).collect();
        let fields =
            vec![("type", text("choice")), ("values", node(Tree::List(nodes))), ("ordered", node(Tree::Bool(true)))];
        (map(fields), Written::Nearest(values))
    };
    let on_step = |step: f64| (low / step - (low / step).round()).abs() <= NEAR * (low / step).abs().max(1.0);
    let count = step.map_or(f64::INFINITY, |step| ((high - low) / step).round() + 1.0);
    match step {
        _ if low >= high => listed(vec![low]),
        Some(step) if high - low < step * (1.0 - NEAR) => listed(vec![low]),
        None if log && whole => of("q_log_uniform_values", Some(("q", integer(1.0)))),
        None if log => of("log_uniform_values", None),
        None => of("uniform", None),
        Some(step) if whole => of("int_uniform", Some(("step", integer(step))).filter(|_| step > 1.0)),
        Some(step) if on_step(step) => of("quniform", Some(("q", number(step)))),
        // Steps are counted from the lower bound there and from 0 here.
        Some(step) if count <= CHOICE_VALUES_MAX => {
            listed((0..count as u32).map(|at| low + f64::from(at) * step).collect())
        }
        Some(_) => of("uniform", None),
    }
}

/// Choices as a sweep takes them: texts, numbers and booleans, each once. Others are written as a text of their JSON.
fn choice_values(parameter: &str, choices: &[Value], notes: &mut Vec<String>) -> Vec<Node> {
    let mut written: Vec<Node> = Vec::with_capacity(choices.len());
    for choice in choices {
        let plain = match choice {
            Value::String(choice) => Some(text(choice.as_str())),
            Value::Bool(choice) => Some(node(Tree::Bool(*choice))),
            Value::Number(choice) => choice.as_f64().map(number),
            _ => None,
        };
        if let Some(plain) = plain.filter(|plain| !written.contains(plain)) {
            written.push(plain);
            continue;
        }
        let json = choice.to_string();
        let is_free = |name: &String| !written.contains(&text(name.as_str())) && !choices.contains(&json!(name));
        let numbered = (2..).map(|count| format!("{json}_{count}"));
        let name = std::iter::once(json.clone()).chain(numbered).find(is_free).unwrap_or_default();
        notes.push(format!("parameter {parameter:?}: its choice {json} is written as the text {name:?}"));
        written.push(text(name));
    }
    written
}

/// A trial that has ended.
struct Raw {
    id: i64,
    state: &'static str,
    /// In the order in which they were suggested.
    parameters: Vec<(String, f64)>,
}

/// All trials that have ended, and how many have not.
async fn raw_trials(connection: &mut SqliteConnection, study: i64) -> Result<(Vec<Raw>, usize), sqlx::Error> {
    let listed: Vec<(i64, String)> =
        sqlx::query_as("SELECT trial_id, state FROM trials WHERE study_id = ? ORDER BY number, trial_id")
            .bind(study)
            .fetch_all(&mut *connection)
            .await?;
    let mut parameters = all(connection, study, "param_name, param_value, '' FROM trial_params", "param_id").await?;
    let mut open = 0;
    let mut raw = Vec::with_capacity(listed.len());
    for (id, state) in listed {
        let state = match state.as_str() {
            "COMPLETE" => "completed",
            "PRUNED" => "pruned",
            "FAIL" => "failed",
            _ => {
                open += 1;
                continue;
            }
        };
        raw.push(Raw { id, state, parameters: parameters.remove(&id).unwrap_or_default() });
    }
    Ok((raw, open))
}

/// What the trials show about when each parameter is there.
fn conditions_of(parameters: &[Parameter], trials: &[Raw]) -> Vec<Shown> {
    let can_be_parent = |parameter: &Parameter| match &parameter.range {
        Range::Choices(_) => true,
        Range::Numbers { low, high, log, whole, .. } => *whole && !*log && low < high,
    };
    let parents: Vec<bool> = parameters.iter().map(can_be_parent).collect();
    let places: BTreeMap<&str, usize> = parameters.iter().map(|p| p.name.as_str()).zip(0..).collect();
    let seen = |trial: &Raw| {
        let known = trial.parameters.iter().filter_map(|(name, value)| Some((*places.get(name.as_str())?, *value)));
        Seen { finished: trial.state == "completed", values: known.collect() }
    };
    conditions::infer(&parents, &trials.iter().map(seen).collect::<Vec<_>>())
}

/// The distribution with what the trials show about when it is there.
fn with_conditions(distribution: &Node, shown: &Shown, names: &[String], manners: &[(Node, Written)]) -> Node {
    let (Shown::When(when), Tree::Map(entries)) = (shown, &distribution.value) else { return distribution.clone() };
    let line = |(parent, values): &(usize, Vec<f64>)| {
        let values = values.iter().filter_map(|value| written_value(&manners[*parent].1, *value));
        (names[*parent].clone(), node(Tree::List(values.collect())))
    };
    let mut entries = entries.clone();
    entries.push(("when".to_owned(), node(Tree::Map(when.iter().map(line).collect()))));
    node(Tree::Map(entries))
}

/// The rows of the trials.
async fn trials(
    connection: &mut SqliteConnection,
    study: i64,
    raw: Vec<Raw>,
    manners: &BTreeMap<&str, (&str, &Written)>,
    metrics: &[String],
) -> Result<Vec<Node>, sqlx::Error> {
    let values = "objective, value, value_type FROM trial_values";
    let mut values = all(connection, study, values, "objective").await?;
    let reports = "step, intermediate_value, intermediate_value_type FROM trial_intermediate_values";
    let mut reports = all(connection, study, reports, "step").await?;
    let mut rows = Vec::with_capacity(raw.len());
    for Raw { id, state, parameters } in raw {
        let held = parameters.iter().filter_map(|(name, value)| {
            let (written, manner) = manners.get(name.as_str())?;
            Some(((*written).to_owned(), written_value(manner, *value)?))
        });
        let mut row = vec![("parameters", node(Tree::Map(held.collect()))), ("state", text(state))];
        let values = values.remove(&id).filter(|_| state != "failed").unwrap_or_default();
        let named = values.into_iter().filter_map(|(place, value)| {
            let metric = place.parse::<usize>().ok().and_then(|place| metrics.get(place))?;
            Some((metric.clone(), number(value)))
        });
        row.push(("values", node(Tree::Map(named.collect()))));
        let points: Vec<Node> = reports.remove(&id).unwrap_or_default().into_iter().map(point).collect();
        if !points.is_empty() {
            row.push(("intermediate", node(Tree::List(points))));
        }
        rows.push(map(row));
    }
    Ok(rows)
}

fn point((step, value): (String, f64)) -> Node {
    map(vec![("step", node(Tree::Number(step))), ("value", number(value))])
}

fn written_value(manner: &Written, value: f64) -> Option<Node> {
    match manner {
        Written::Choices(values) => values.get(value as usize).cloned(),
        Written::Nearest(values) => {
            let far = |known: &f64| (known - value).abs();
            values.iter().min_by(|a, b| far(a).total_cmp(&far(b))).map(|nearest| number(*nearest))
        }
        Written::Numbers => Some(number(value)),
    }
}

/// `(name or number, value)` of each row of a table, by trial, in some order.
async fn all(
    connection: &mut SqliteConnection,
    study: i64,
    what: &str,
    order: &str,
) -> Result<BTreeMap<i64, Vec<(String, f64)>>, sqlx::Error> {
    let query = format!("SELECT trial_id, {what} JOIN trials USING (trial_id) WHERE study_id = ? ORDER BY {order}");
    let rows = sqlx::query(sqlx::AssertSqlSafe(query)).bind(study).fetch_all(connection).await?;
    let mut found: BTreeMap<i64, Vec<(String, f64)>> = BTreeMap::new();
    for row in rows {
        let value = match row.try_get::<String, _>(3)?.as_str() {
            "INF_POS" => f64::INFINITY,
            "INF_NEG" => f64::NEG_INFINITY,
            _ => row.try_get::<Option<f64>, _>(2)?.unwrap_or(f64::NAN),
        };
        let key = row.try_get::<String, _>(1).or_else(|_| row.try_get::<i64, _>(1).map(|number| number.to_string()))?;
        found.entry(row.try_get(0)?).or_default().push((key, value));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
