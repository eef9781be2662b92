//! The search space: types and fields here, every rule on their values in `tuning`.

use std::collections::HashSet;

use documents::{Field, Fields, Findings, Node, Tree, reference};
use tuning::{
    Bounds, CHOICE_VALUES_MAX, Condition, Distribution, Issue, PARAMETERS_MAX, Parameter, SearchSpace, Value,
};

use super::compat;
use super::note::note;
use super::sampler::Sampler;
use super::spec::Limits;
use super::template::looks_like_a_placeholder;

/// The names that references may use: also those of parameters that are wrong in some other way.
pub(super) struct Names {
    /// Of all parameters.
    pub(super) all: Vec<String>,
    /// Of those that are not always active.
    pub(super) conditional: Vec<String>,
}

/// Reads the names alone.
pub(super) fn names(field: &Field<'_>) -> Option<Names> {
    let Tree::Map(entries) = &field.node()?.value else { return None };
    let of = |entries: &mut dyn Iterator<Item = &(String, Node)>| entries.map(|(name, _)| name.clone()).collect();
    let conditional = |(_, node): &&(String, Node)| node.get("when").is_some_and(|when| when.value != Tree::Null);
    Some(Names { all: of(&mut entries.iter()), conditional: of(&mut entries.iter().filter(conditional)) })
}

/// Reads the section and checks it, also against the sampler. Parameters that are as in the space `before` were judged
/// when it was accepted: what has been refused only since then is no fault of theirs.
pub(super) fn read(
    field: &Field<'_>,
    compat: bool,
    sampler: Option<&Sampler>,
    limits: Option<&Limits>,
    before: Option<&SearchSpace>,
    findings: &Findings,
) -> Option<SearchSpace> {
    let entries = field.entries()?;
    if entries.len() > PARAMETERS_MAX {
        // Thousands of errors inside would say nothing more.
        let message = format!("search_space has {} parameters, limit {PARAMETERS_MAX}", entries.len());
        findings.refuse(field.pointer(), "TooLarge", message);
        return None;
    }
    let written: HashSet<&str> = entries.iter().map(|(name, _)| *name).collect();
    let parameters: Vec<Option<Parameter>> =
        entries.into_iter().map(|(name, place)| parameter(name, &place, compat, findings)).collect();
    let complete = parameters.iter().all(Option::is_some);
    let mut space =
        SearchSpace { parameters: parameters.into_iter().flatten().collect(), compat, ..SearchSpace::default() };
    space.logbase = sampler.and_then(|sampler| sampler.logbase);
    let mut issues = space.check();
    if !complete {
        // What is left of the space may be empty, or lack a parent, which is not the user's mistake.
        let lacks_one =
            |issue: &Issue| issue.field.strip_prefix("when/").is_some_and(|parent| written.contains(parent));
        issues.retain(|issue| issue.code != "EmptySpace" && (issue.code != "UnknownParent" || !lacks_one(issue)));
    }
    if let Some(before) = before {
        let same = |parameter: &&Parameter| {
            let known = before.parameters.iter().find(|known| known.name == parameter.name);
            known.is_some_and(|known| known.distribution == parameter.distribution)
        };
        let kept: HashSet<&str> =
            space.parameters.iter().filter(same).map(|parameter| parameter.name.as_str()).collect();
        issues.retain(|issue| issue.code != "LikelyRealBounds" || !kept.contains(issue.parameter.as_str()));
    }
    if let Some(sampler) = sampler {
        issues.extend(check_sampler(&space, sampler, limits, &issues));
    }
    let here = field.pointer();
    let good = complete && issues.iter().all(|issue| issue.warning);
    for issue in issues {
        let of_sampler = issue.parameter.is_empty() && !["EmptySpace", "TooLarge"].contains(&issue.code);
        note(issue, if of_sampler { "/sampling_algorithm" } else { &here }, findings);
    }
    good.then_some(space)
}

/// The sampler's own rules, asked about the parameters that are right by themselves.
fn check_sampler(space: &SearchSpace, sampler: &Sampler, limits: Option<&Limits>, found: &[Issue]) -> Vec<Issue> {
    let wrong: HashSet<&str> = found.iter().filter(|i| !i.warning).map(|i| i.parameter.as_str()).collect();
    let mut right = space.clone();
    right.parameters.retain(|parameter| !wrong.contains(parameter.name.as_str()));
    sampler.spec.check(&right, limits.map(|limits| u64::from(limits.max_total_trials)))
}

fn parameter(name: &str, place: &Field<'_>, in_compat: bool, findings: &Findings) -> Option<Parameter> {
    if matches!(place.node().map(|node| &node.value), Some(Tree::List(_))) {
        compat::refuse_list(place, in_compat);
        return None;
    }
    let mut fields = place.map()?;
    let when = fields.field("when");
    let when = if when.is_present() { conditions(&when) } else { Some(Vec::new()) };
    let default = fields.field("default");
    let default = if default.is_present() { choice_value(&default).map(Some) } else { Some(None) };
    let Some(kind) = fields.required("type").one_of("UnknownDistribution", &Distribution::KINDS) else {
        fields.kind_is_unknown();
        return None;
    };
    fields.described_by_kind(&reference::PARAMETERS, kind);
    let distribution = distribution(kind, name, &mut fields, findings)?;
    Some(Parameter { name: name.to_owned(), distribution, when: when?, default: default? })
}

/// `{parent: value}` or `{parent: [value, value]}`.
fn conditions(field: &Field<'_>) -> Option<Vec<Condition>> {
    let entries = field.entries()?;
    if entries.is_empty() {
        field.refuse("ImpossibleCondition", "names no parameter; remove it, or say when the parameter is there");
        return None;
    }
    let read = |(parent, value): (&str, Field<'_>)| {
        let values = match &value.node()?.value {
            Tree::List(_) => few_values(parent, &value, value.list()?)?.iter().map(choice_value).collect::<Vec<_>>(),
            _ => vec![choice_value(&value)],
        };
        Some(Condition { parent: parent.to_owned(), values: values.into_iter().collect::<Option<_>>()? })
    };
    // All are looked at before the first that is wrong ends it.
    let read: Vec<Option<Condition>> = entries.into_iter().map(read).collect();
    read.into_iter().collect()
}

/// Every field is read before any `?`, so that all of them are checked and none looks unknown.
fn distribution(kind: &str, name: &str, fields: &mut Fields<'_>, findings: &Findings) -> Option<Distribution> {
    match kind {
        "choice" => choice(name, fields, findings),
        "randint" => {
            let upper = upper(name, &fields.required("upper"));
            let grid_points = fields.boolean("grid_points").unwrap_or_default();
            Some(Distribution::Randint { upper: upper?, grid_points })
        }
        "int_uniform" => integers(fields),
        "normal" | "qnormal" | "lognormal" | "qlognormal" => normal(kind, fields),
        _ => bounded(kind, fields),
    }
}

fn bounded(kind: &str, fields: &mut Fields<'_>) -> Option<Distribution> {
    let (min, max) = (fields.required("min_value").number(), fields.required("max_value").number());
    let q = if kind.starts_with('q') { fields.required("q").number() } else { Some(0.0) };
    let has_points = ["quniform", "q_log_uniform_values"].contains(&kind);
    let grid_points = has_points && fields.boolean("grid_points").unwrap_or_default();
    let takes_exponents = ["loguniform", "qloguniform"].contains(&kind);
    let stated = takes_exponents.then(|| fields.field("bounds").one_of("BadBounds", &["exponents"])).flatten();
    let bounds = if stated.is_some() { Bounds::Exponents } else { Bounds::Unsaid };
    let (min_value, max_value, q) = (min?, max?, q?);
    Some(match kind {
        "uniform" => Distribution::Uniform { min_value, max_value },
        "quniform" => Distribution::Quniform { min_value, max_value, q, grid_points },
        "loguniform" => Distribution::Loguniform { min_value, max_value, bounds },
        "qloguniform" => Distribution::Qloguniform { min_value, max_value, q, bounds },
        "q_log_uniform_values" => Distribution::QLogUniformValues { min_value, max_value, q, grid_points },
        _ => Distribution::LogUniformValues { min_value, max_value },
    })
}

fn integers(fields: &mut Fields<'_>) -> Option<Distribution> {
    let bound = |field: &Field<'_>| field.integer_as("BadRange", "must be an integer", false);
    let (min, max) = (bound(&fields.required("min_value")), bound(&fields.required("max_value")));
    let step = fields.field("step");
    let step =
        if step.is_present() { step.integer_as("BadQuantum", "must be an integer >= 1", false) } else { Some(1) };
    let grid_points = fields.boolean("grid_points").unwrap_or_default();
    Some(Distribution::IntUniform { min_value: min?, max_value: max?, step: step?, grid_points })
}

fn normal(kind: &str, fields: &mut Fields<'_>) -> Option<Distribution> {
    let (mu, sigma) = (fields.required("mu").number(), fields.required("sigma").number());
    let q = if kind.starts_with('q') { fields.required("q").number() } else { Some(0.0) };
    let (mu, sigma, q) = (mu?, sigma?, q?);
    Some(match kind {
        "normal" => Distribution::Normal { mu, sigma },
        "qnormal" => Distribution::Qnormal { mu, sigma, q },
        "lognormal" => Distribution::Lognormal { mu, sigma },
        _ => Distribution::Qlognormal { mu, sigma, q },
    })
}

fn upper(name: &str, field: &Field<'_>) -> Option<u64> {
    let text = match &field.node()?.value {
        Tree::Number(text) => text,
        _ => return field.wrong_type("an integer"),
    };
    // In a message of `tuning` the name stands where our path would: take the rule from there, the place from here.
    let rule = tuning::bad_upper(name, text);
    field.integer_as("BadUpper", rule.split_once(": ").map_or(rule.as_str(), |(_, rule)| rule), false)
}

fn choice(name: &str, fields: &mut Fields<'_>, findings: &Findings) -> Option<Distribution> {
    let ordered = fields.boolean("ordered").unwrap_or_default();
    let place = fields.required("values");
    let values = place.list();
    let weights = fields.field("weights");
    // All are looked at before the first that is wrong ends it.
    let read_weights = || {
        let read: Vec<Option<f64>> = weights.list()?.iter().map(Field::number).collect();
        read.into_iter().collect::<Option<Vec<f64>>>()
    };
    let weights = if weights.is_present() { read_weights().map(Some) } else { Some(None) };
    let fields = few_values(name, &place, values?)?;
    let values: Vec<Option<Value>> = fields.iter().map(choice_value).collect();
    if values.iter().any(Option::is_none) {
        // The rules on the whole are asked about the others too: whoever mends one of them shall not meet the next.
        let good = values.iter().enumerate().filter_map(|(at, value)| Some((at, value.as_ref()?)));
        let weights = weights.as_ref().and_then(Option::as_deref);
        for issue in tuning::check_choice(name, good, values.len(), weights) {
            let at = documents::pointer::child("/search_space", name);
            findings.refuse(format!("{at}/{}", issue.field), issue.code, issue.message);
        }
    }
    let values = values.into_iter().collect::<Option<Vec<Value>>>();
    Some(Distribution::Choice { values: values?, weights: weights?, ordered })
}

/// Values beyond the limit are not looked at one by one: rules compare them with each other.
fn few_values<'a>(name: &str, place: &Field<'a>, values: Vec<Field<'a>>) -> Option<Vec<Field<'a>>> {
    if values.len() <= CHOICE_VALUES_MAX {
        return Some(values);
    }
    let count = values.len();
    place.refuse_as("TooLarge", format_args!("{name} has {count} values, limit {CHOICE_VALUES_MAX}"));
    None
}

/// What is said to a null, with the way to what is meant by it.
const NULL: &str = "is null; string, finite number or boolean; for trials without this parameter add another one, such \
                    as has_it: {type: choice, values: [false, true]}, and give this one when: {has_it: true}";

pub(super) fn choice_value(field: &Field<'_>) -> Option<Value> {
    let value = match &field.node()?.value {
        Tree::Text(text) if looks_like_a_placeholder(text) => {
            field
                .refuse("BadChoiceValue", "a value must not hold ${{inputs. or ${{outputs.: the node would fill it in");
            return None;
        }
        Tree::Null => {
            field.refuse("BadChoiceValue", NULL);
            return None;
        }
        Tree::Text(text) if text.contains('\0') => None,
        Tree::Text(text) => Some(Value::Text(text.clone())),
        Tree::Bool(value) => Some(Value::Bool(*value)),
        Tree::Number(text) => field_number(text).map(Value::Number),
        _ => None,
    };
    if value.is_none() {
        let message = format!("is {}; string, finite number or boolean", field.received());
        field.refuse("BadChoiceValue", message);
    }
    value
}

fn field_number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}
