//! What is wrong with the conditions of a search space.

use std::collections::HashSet;

use crate::count::can_take;
use crate::space::{Condition, Distribution, Issue, Parameter, SearchSpace};
use crate::value::Value;

/// So many values of a condition are compared one by one.
const FEW_VALUES: usize = 4;

/// Reports unknown parents, conditions that can never hold, and cycles.
pub(crate) fn check(space: &SearchSpace, issues: &mut Vec<Issue>) {
    for parameter in &space.parameters {
        for condition in &parameter.when {
            check_one(space, parameter, condition, issues);
        }
    }
    check_cycles(space, issues);
}

fn check_one(space: &SearchSpace, parameter: &Parameter, condition: &Condition, issues: &mut Vec<Issue>) {
    let (name, parent_name) = (&parameter.name, &condition.parent);
    let field = format!("when/{parent_name}");
    let Some(parent) = space.parameters.iter().find(|other| other.name == *parent_name) else {
        let message = format!("{name}.when: {parent_name} is not a parameter of search_space");
        issues.push(Issue::error(name, &field, "UnknownParent", message));
        return;
    };
    let kind = parent.distribution.kind();
    if !matches!(parent.distribution, Distribution::Choice { .. }) && parent.distribution.integers().is_none() {
        let message =
            format!("{name}.when: {parent_name} is {kind}; only choice, randint and int_uniform can be conditions");
        issues.push(Issue::error(name, &field, "ImpossibleCondition", message));
        return;
    }
    if condition.values.is_empty() {
        let message = format!("{name}.when: {parent_name} lists no value; give at least one");
        issues.push(Issue::error(name, &field, "ImpossibleCondition", message));
    }
    // Values in a list of many are looked up in a set: a thousand compared with a thousand would be a million.
    let known: Option<HashSet<&Value>> = match &parent.distribution {
        Distribution::Choice { values, .. } if condition.values.len() > FEW_VALUES => Some(values.iter().collect()),
        _ => None,
    };
    for value in &condition.values {
        let possible = match &known {
            Some(known) => known.contains(value),
            None => can_take(&parent.distribution, value),
        };
        if !possible {
            let message = format!("{name}.when: {parent_name} is never {value}; use one of its values");
            issues.push(Issue::error(name, &field, "ImpossibleCondition", message));
        }
    }
}

/// Reports each cycle once, at its parameter that is written first.
fn check_cycles(space: &SearchSpace, issues: &mut Vec<Issue>) {
    let place = |name: &str| space.parameters.iter().position(|parameter| parameter.name == name);
    let parents: Vec<Vec<usize>> = space
        .parameters
        .iter()
        .map(|parameter| parameter.when.iter().filter_map(|condition| place(&condition.parent)).collect())
        .collect();
    for start in 0..parents.len() {
        if let Some(path) = way_back(&parents, start) {
            let names: Vec<&str> = path.iter().map(|&at| space.parameters[at].name.as_str()).collect();
            let (name, parent) = (names[0], names[1]);
            let message = format!("{}: these conditions form a cycle; remove one", names.join(" -> "));
            issues.push(Issue::error(name, &format!("when/{parent}"), "ConditionCycle", message));
        }
    }
}

/// A way from `start` back to it over parents that are written later.
fn way_back(parents: &[Vec<usize>], start: usize) -> Option<Vec<usize>> {
    let mut came_from: Vec<Option<usize>> = vec![None; parents.len()];
    let mut open = vec![start];
    while let Some(at) = open.pop() {
        for &parent in &parents[at] {
            if parent == start {
                let mut path = vec![start, at];
                while path.last() != Some(&start) {
                    path.push(came_from[*path.last()?]?);
                }
                path.reverse();
                return Some(path);
            }
            if parent > start && came_from[parent].is_none() {
                came_from[parent] = Some(at);
                open.push(parent);
            }
        }
    }
    None
}
