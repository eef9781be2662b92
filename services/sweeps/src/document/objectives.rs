//! Several objectives, and constraints on other metrics.

use std::collections::HashSet;

use documents::{Field, Fields};

use super::spec::{Constraint, ConstraintOperator, Objective};
use super::{metric_name, read_goal, read_objective};

/// Most objectives: with more, nearly every trial is the best in some direction.
const OBJECTIVES_MAX: usize = 3;
/// Most constraints: each is a model of its own.
const CONSTRAINTS_MAX: usize = 16;

/// Reads `objective`, or `objectives` instead of it. One objective in a list is the same as one outside of it; a
/// second and third are checked, and then refused as not offered yet.
pub(super) fn read(fields: &mut Fields<'_>) -> Option<Objective> {
    let (single, several) = (fields.field("objective"), fields.field("objectives"));
    if !several.is_present() {
        return single.required().map().and_then(read_objective);
    }
    if single.is_present() {
        several.refuse("ExactlyOne", "objective or objectives: both are given, remove one");
    }
    let items = several.list()?;
    if !(1..=OBJECTIVES_MAX).contains(&items.len()) {
        several.refuse("OutOfRange", format_args!("{} objectives; 1 to {OBJECTIVES_MAX}", items.len()));
    }
    let mut seen = HashSet::new();
    let mut read = Vec::with_capacity(items.len());
    for item in &items {
        let objective = item.map().and_then(|mut fields| {
            let goal = read_goal(&fields.required("goal"));
            let metric = fields.required("primary_metric");
            let name = metric_name(&metric)?;
            if !seen.insert(name.clone()) {
                metric.refuse("DuplicateValue", format_args!("{name} is an objective already; name each metric once"));
            }
            Some(Objective {
                goal: goal?,
                primary_metric: name,
                on_non_finite: Default::default(),
                noise: Default::default(),
                target: None,
            })
        });
        read.push(objective);
    }
    let read: Vec<Objective> = read.into_iter().collect::<Option<_>>()?;
    if let Some(second) = items.get(1) {
        second.not_offered();
        return None;
    }
    read.into_iter().next()
}

/// Reads `constraints`; sound ones are refused as not offered yet.
pub(super) fn read_constraints(field: &Field<'_>) -> Option<Vec<Constraint>> {
    if !field.is_present() {
        return Some(Vec::new());
    }
    let items = field.list()?;
    if items.len() > CONSTRAINTS_MAX {
        field.refuse("TooLarge", format_args!("{} constraints, limit {CONSTRAINTS_MAX}", items.len()));
        return None;
    }
    let read: Vec<Option<Constraint>> = items
        .iter()
        .map(|item| {
            let mut fields = item.map()?;
            let metric = metric_name(&fields.required("metric"));
            let operator = match fields.required("op").one_of("BadOperator", &["<=", ">="]) {
                Some("<=") => Some(ConstraintOperator::AtMost),
                Some(_) => Some(ConstraintOperator::AtLeast),
                None => None,
            };
            let value = fields.required("value").number();
            Some(Constraint { metric: metric?, operator: operator?, value: value? })
        })
        .collect();
    let sound = read.iter().all(Option::is_some);
    if let Some(first) = items.first().filter(|_| sound) {
        first.not_offered();
    }
    read.into_iter().collect()
}
