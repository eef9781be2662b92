//! A table of finished trials, as a sweep in external mode that is over.

use std::collections::{BTreeMap, HashMap, HashSet};

use documents::{Field, Fields, Findings, Format, Node, Tree};
use tuning::{Draw, Goal, PolicySpec, Rule, SamplerSpec, SearchSpace, Value};
use vocabulary::{Problem, Warning};

use super::spec::{Limits, Mode, ServerLimits, SweepSpec, TrialSpec};
use super::title::{DEFAULT_EXPERIMENT, read_title};
use super::{limits, objectives, space};
use crate::sweep::{ImportedTrial, NamedValue, Point, TrialEnd};

/// Largest table: the message to this service and its JSON stay below 8 MiB.
pub const IMPORT_BYTES_MAX: usize = 7 << 20;
/// Most trials of a table: all of them are one append, of three events a trial.
pub const IMPORT_TRIALS_MAX: usize = 20_000;
/// Values of a table: a hundred a trial.
const IMPORT_VALUES_MAX: usize = 2_000_000;
/// The key of the rows.
const ROWS: &str = "trials";
/// Errors that are told one by one: an answer with thousands of them would not fit its headers.
const ERRORS_SHOWN: usize = 50;
/// Numbers of further bad rows that are listed.
const ROWS_SHOWN: usize = 200;
/// The states of a finished trial.
const STATES: [&str; 3] = ["completed", "failed", "pruned"];

/// Reads a table.
///
/// # Errors
/// 413 when it is too large, 400 for syntax, duplicate keys or unknown fields, 422 with all that is wrong in it.
pub fn read_import(
    text: &[u8],
    format: Format,
    server: &ServerLimits,
) -> Result<(SweepSpec, Vec<ImportedTrial>, Vec<Warning>), Problem> {
    if text.len() > IMPORT_BYTES_MAX {
        let detail = format!("the table has {} bytes, limit {IMPORT_BYTES_MAX}: import it in parts", text.len());
        return Err(Problem::new(413, "TooLarge", detail));
    }
    // The rows are read twice, for what they mean stands beside them, perhaps behind: a tree of all of them would be
    // some twenty times their bytes.
    let mut count = 0;
    let document = documents::read_table(text, format, IMPORT_VALUES_MAX, ROWS, |_, _| count += 1)?;
    let findings = Findings::new();
    let read = Field::root(&document, &findings).map().and_then(|fields| read_fields(fields, count, server, &findings));
    let read = match read {
        Some(spec) => {
            let mut table = Table::new(&spec, &findings);
            documents::read_table(text, format, IMPORT_VALUES_MAX, ROWS, |number, row| table.take(number, &row))?;
            table.finish(count).map(|trials| (spec, trials))
        }
        None => None,
    };
    let ((spec, trials), warnings) = findings.finish(read)?;
    Ok((spec, trials, warnings))
}

fn read_fields(mut fields: Fields<'_>, rows: usize, server: &ServerLimits, findings: &Findings) -> Option<SweepSpec> {
    let name = read_title(&fields.field("name"));
    let experiment = read_title(&fields.field("experiment")).unwrap_or_else(|| DEFAULT_EXPERIMENT.to_owned());
    let description = fields.text("description").unwrap_or_default().to_owned();
    let tags = fields.tags().unwrap_or_default();
    let goals = objectives::read_all(&mut fields, false);
    let space = space::read(&fields.required("search_space"), false, None, None, None, findings);
    let trials = fields.required(ROWS);
    trials.list()?;
    if !(1..=IMPORT_TRIALS_MAX).contains(&rows) {
        trials.refuse("OutOfRange", format_args!("{rows} trials; 1 to {IMPORT_TRIALS_MAX}"));
        return None;
    }
    let ((objective, further_objectives), constraints, space) = (goals.objectives?, goals.constraints?, space?);
    let defaults = limits::defaults(&server.of(Mode::External));
    let total = u32::try_from(rows).unwrap_or(u32::MAX);
    let limits = Limits { max_total_trials: total, max_concurrent_trials: 1, ..defaults };
    Some(SweepSpec {
        name,
        experiment,
        description,
        tags,
        mode: Mode::External,
        cluster: String::new(),
        objective,
        further_objectives,
        constraints,
        space,
        sampler: SamplerSpec::Random { rule: Rule::Random },
        seed: None,
        policy: PolicySpec::None,
        limits,
        record_keeps: false,
        resume_from: None,
        resume_trials: Vec::new(),
        trial: TrialSpec::default(),
    })
}

/// The rows as they come: all of them, or what is wrong with each.
struct Table<'t> {
    spec: &'t SweepSpec,
    columns: Columns<'t>,
    findings: &'t Findings,
    read: Vec<ImportedTrial>,
    shown: usize,
    more: Vec<usize>,
}

impl<'t> Table<'t> {
    fn new(spec: &'t SweepSpec, findings: &'t Findings) -> Self {
        Self { spec, columns: Columns::of(&spec.space), findings, read: Vec::new(), shown: 0, more: Vec::new() }
    }

    fn take(&mut self, number: usize, row: &Node) {
        // Each row has its own list, so that only the first of very many errors are told one by one.
        let own = Findings::new();
        let found = Field::root(row, &own).map().and_then(|fields| read_row(fields, self.spec, &self.columns));
        match own.finish(found) {
            Ok((row, _)) => self.read.push(row),
            Err(mut problem) if self.shown < ERRORS_SHOWN => {
                self.shown += problem.errors.len().max(1);
                for error in &mut problem.errors {
                    error.message = format!("row {number}: {}", error.message);
                    error.pointer = format!("/{ROWS}/{number}{}", error.pointer);
                }
                self.findings.add_problem("", problem);
            }
            Err(_) => self.more.push(number),
        }
    }

    fn finish(self, rows: usize) -> Option<Vec<ImportedTrial>> {
        let Self { spec, findings, read, more, .. } = self;
        if !more.is_empty() {
            let listed: Vec<String> = more.iter().take(ROWS_SHOWN).map(usize::to_string).collect();
            let and = if more.len() > ROWS_SHOWN { ", .." } else { "" };
            let message = format!("{} more rows are wrong: {}{and}", more.len(), listed.join(", "));
            findings.refuse(format!("/{ROWS}"), "BadRows", message);
        }
        if read.len() != rows {
            return None;
        }
        // Of several objectives the last values are the result.
        if !spec.has_several() {
            warn_of_better(&read, spec.objective.goal, findings);
        }
        Some(read)
    }
}

/// The places of parameters by their names: a table asks for them in each row.
struct Columns<'s> {
    space: &'s SearchSpace,
    places: HashMap<&'s str, usize>,
}

impl<'s> Columns<'s> {
    fn of(space: &'s SearchSpace) -> Self {
        let places = space.parameters.iter().enumerate().map(|(place, parameter)| (parameter.name.as_str(), place));
        Self { space, places: places.collect() }
    }
}

fn read_row(mut fields: Fields<'_>, spec: &SweepSpec, columns: &Columns<'_>) -> Option<ImportedTrial> {
    // The tags of a trial are those of a run, which an imported trial does not have; they are checked and left.
    let _ = fields.tags();
    let draws = read_parameters(&fields.field("parameters"), columns);
    let state = fields.required("state").one_of("BadState", &STATES);
    let values = read_values(&mut fields, spec);
    let points = read_points(&fields.field("intermediate"));
    let (draws, state, values, mut points) = (draws?, state?, values?, points?);
    let place = fields.place();
    let missing = spec.objectives().find(|objective| !values.contains_key(objective.primary_metric.as_str()));
    match (state, missing) {
        ("completed", Some(_)) if !spec.has_several() => {
            place.refuse("Required", "a completed trial has a value: give it, or say failed or pruned");
            return None;
        }
        ("completed", Some(missing)) => {
            let metric = &missing.primary_metric;
            place.refuse(
                "Required",
                format_args!("a completed trial has all values: give values.{metric}, or say failed"),
            );
            return None;
        }
        ("failed", _) if !values.is_empty() => {
            place.refuse("UnexpectedValue", "a failed trial has no value: remove it, or say completed or pruned");
            return None;
        }
        _ => {}
    }
    let last = points.last().copied();
    let value = values.get(spec.objective.primary_metric.as_str()).copied();
    if let Some(value) = value.filter(|value| last.is_none_or(|last| last.value.to_bits() != value.to_bits())) {
        points.push(Point { step: last.map_or(0, |last| last.step.saturating_add(1)), value });
    }
    let step = points.last().map_or(0, |last| last.step);
    let others = values.into_iter().filter(|(name, _)| *name != spec.objective.primary_metric);
    let others = others.map(|(name, value)| NamedValue { name: name.to_owned(), step, value }).collect();
    let finite = points.iter().any(|point| point.value.is_finite());
    let end = match state {
        "completed" => TrialEnd::completed(!finite),
        "pruned" => TrialEnd::EarlyStopped { decision: String::new() },
        _ => TrialEnd::Failed {
            phase: "run".to_owned(),
            reason: crate::sweep::IMPORTED.to_owned(),
            exit_code: None,
            signal: None,
        },
    };
    Some(ImportedTrial { draws, points, others, end })
}

/// The draws in written order. What is not there is inactive: studies of other programs say no more about conditions.
fn read_parameters(field: &Field<'_>, columns: &Columns<'_>) -> Option<Vec<Draw>> {
    let space = columns.space;
    let mut values: Vec<Option<Value>> = vec![None; space.parameters.len()];
    let mut places: Vec<Option<Field<'_>>> = space.parameters.iter().map(|_| None).collect();
    let mut good = true;
    for (name, entry) in if field.is_present() { field.entries()? } else { Vec::new() } {
        let Some(place) = columns.places.get(name).copied() else {
            entry.refuse("UnknownParameter", format_args!("{name} is not in search_space"));
            good = false;
            continue;
        };
        values[place] = space::choice_value(&entry);
        good &= values[place].is_some();
        places[place] = Some(entry);
    }
    let mut draws = Vec::with_capacity(values.len());
    for (place, value) in values.iter().enumerate() {
        let (Some(value), Some(entry)) = (value, &places[place]) else { continue };
        let parameter = &space.parameters[place];
        let holds = parameter.when.iter().all(|condition| {
            let parent = columns.places.get(condition.parent.as_str()).copied();
            parent.and_then(|parent| values[parent].as_ref()).is_some_and(|value| condition.values.contains(value))
        });
        match space.draw_of(place, value) {
            _ if !holds => {
                entry.refuse("InactiveParameter", "it has a value although its conditions do not hold; remove it");
                good = false;
            }
            Ok(draw) => draws.push(draw),
            Err(wrong) => {
                // The name stands in the path already.
                entry.refuse("OutOfSpace", wrong.split_once(": ").map_or(wrong.as_str(), |(_, wrong)| wrong));
                good = false;
            }
        }
    }
    good.then_some(draws)
}

/// `value`, or `values` by metric instead of it.
fn read_values<'s>(fields: &mut Fields<'_>, spec: &'s SweepSpec) -> Option<BTreeMap<&'s str, f64>> {
    let (single, named) = (fields.field("value"), fields.field("values"));
    if !named.is_present() {
        let primary = spec.objective.primary_metric.as_str();
        return Some(read_value(&single)?.map(|value| (primary, value)).into_iter().collect());
    }
    if single.is_present() {
        named.refuse("ExactlyOne", "value or values: both are given, remove one");
    }
    let watched = spec.watched();
    let read = named.entries()?.into_iter().map(|(name, entry)| {
        let Some(known) = watched.iter().find(|known| **known == name) else {
            entry.refuse("UnknownMetric", documents::not_one_of("watched metric", name, &watched));
            return None;
        };
        Some((*known, read_value(&entry)?))
    });
    let read: Vec<Option<(&str, Option<f64>)>> = read.collect();
    let read: Option<Vec<(&str, Option<f64>)>> = read.into_iter().collect();
    Some(read?.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

/// A number, one of the three texts for what is not finite, or nothing.
fn read_value(field: &Field<'_>) -> Option<Option<f64>> {
    let Some(node) = field.node() else { return Some(None) };
    let value = match &node.value {
        Tree::Null => return Some(None),
        Tree::Number(text) => text.parse::<f64>().ok().filter(|value| value.is_finite()),
        Tree::Text(text) => vocabulary::number::from_non_finite_text(text),
        _ => None,
    };
    if value.is_none() {
        let allowed = "a number, or the text \"NaN\", \"Infinity\" or \"-Infinity\"";
        field.refuse("BadMetricValue", format_args!("expected {allowed}, received {}", field.received()));
    }
    value.map(Some)
}

/// The reports by rising steps.
fn read_points(field: &Field<'_>) -> Option<Vec<Point>> {
    if !field.is_present() {
        return Some(Vec::new());
    }
    let mut steps = HashSet::new();
    let read: Vec<Option<Point>> = field
        .list()?
        .iter()
        .map(|item| {
            let mut fields = item.map()?;
            let place = fields.required("step");
            let (step, value) = (place.integer::<i64>(), fields.required("value"));
            let value = read_value(&value);
            let step = step?;
            if !steps.insert(step) {
                place.refuse("DuplicateValue", format_args!("step {step} is there already; name each step once"));
                return None;
            }
            Some(Point { step, value: value?? })
        })
        .collect();
    let mut points = read.into_iter().collect::<Option<Vec<Point>>>()?;
    points.sort_by_key(|point| point.step);
    Some(points)
}

/// Says that the result of a trial is its best report, where the table says otherwise.
fn warn_of_better(trials: &[ImportedTrial], goal: Goal, findings: &Findings) {
    let worse = |a: f64, b: f64| if goal == Goal::Maximize { a < b } else { a > b };
    let better = trials.iter().filter(|trial| {
        let last = trial.points.last().map_or(f64::NAN, |point| point.value);
        let completed = matches!(trial.end, TrialEnd::Completed { .. });
        completed && trial.points.iter().any(|point| worse(last, point.value))
    });
    let count = better.count();
    if count > 0 {
        let message = format!(
            "{count} completed trials have an intermediate value that is better than their value; the result of a \
             trial is its best report"
        );
        findings.warn("/trials", "BetterThanValue", message);
    }
}
