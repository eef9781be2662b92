//! Counts the active combinations of a space with conditions, without enumerating its values.

use crate::activity::Plan;
use crate::space::{Distribution, Parameter};
use crate::value::Value;

/// Branches that one count may take. Only a space in which many parents meet in the same children needs more.
const BRANCHES_MAX: u32 = 1 << 16;

/// How many active combinations there are (saturating), with `size` values a parameter (`None`: infinitely many).
/// `None` when infinitely many, or too entangled to count.
pub(crate) fn combinations(plan: &Plan<'_>, size: impl Fn(&Parameter) -> Option<u64>) -> Option<u128> {
    let groups = components(plan);
    let mut counter = Counter { plan, size: &size, branches: 0 };
    groups.iter().try_fold(1_u128, |product, group| Some(product.saturating_mul(counter.group(group)?)))
}

/// Parameters that conditions tie together, each group in the plan's order; groups multiply.
fn components(plan: &Plan<'_>) -> Vec<Vec<usize>> {
    let mut label: Vec<usize> = (0..plan.parameters.len()).collect();
    for (child, links) in plan.links.iter().enumerate() {
        for link in links {
            let (from, to) = (label[link.parent], label[child]);
            label.iter_mut().filter(|own| **own == from).for_each(|own| *own = to);
        }
    }
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); plan.parameters.len()];
    for &index in &plan.order {
        groups[label[index]].push(index);
    }
    groups.retain(|group| !group.is_empty());
    groups
}

struct Counter<'p, 'a> {
    plan: &'p Plan<'a>,
    size: &'p dyn Fn(&Parameter) -> Option<u64>,
    branches: u32,
}

/// Values of a parent that no condition tells apart: one of them and how many there are.
struct Class {
    value: Option<Value>,
    count: u64,
}

impl Counter<'_, '_> {
    fn group(&mut self, group: &[usize]) -> Option<u128> {
        let is_parent = |index: usize| self.plan.links.iter().flatten().any(|link| link.parent == index);
        let (parents, leaves): (Vec<usize>, Vec<usize>) = group.iter().partition(|&&index| is_parent(index));
        let mut values = vec![None; self.plan.parameters.len()];
        self.branch(&parents, &leaves, &mut values)
    }

    /// `values`: the class of each parent decided so far; `None` for an inactive one, `Some(None)` for a value that no
    /// condition names.
    fn branch(&mut self, parents: &[usize], leaves: &[usize], values: &mut Vec<Option<Option<Value>>>) -> Option<u128> {
        self.branches += 1;
        if self.branches > BRANCHES_MAX {
            return None;
        }
        let Some((&parent, rest)) = parents.split_first() else {
            let sizes = leaves.iter().filter(|&&leaf| self.active(leaf, values));
            return sizes
                .map(|&leaf| (self.size)(&self.plan.parameters[leaf]))
                .try_fold(1_u128, |product, size| Some(product.saturating_mul(u128::from(size?))));
        };
        if !self.active(parent, values) {
            values[parent] = None;
            return self.branch(rest, leaves, values);
        }
        let mut sum = 0_u128;
        for class in self.classes(parent)? {
            values[parent] = Some(class.value);
            let below = self.branch(rest, leaves, values)?;
            sum = sum.saturating_add(below.saturating_mul(u128::from(class.count)));
        }
        values[parent] = None;
        Some(sum)
    }

    fn active(&self, index: usize, values: &[Option<Option<Value>>]) -> bool {
        self.plan.links[index].iter().all(|link| match &values[link.parent] {
            Some(Some(value)) => link.values.contains(value),
            Some(None) | None => false,
        })
    }

    fn classes(&self, parent: usize) -> Option<Vec<Class>> {
        let parameter = &self.plan.parameters[parent];
        let size = (self.size)(parameter)?;
        let conditions: Vec<&[Value]> =
            self.plan.links.iter().flatten().filter(|link| link.parent == parent).map(|link| link.values).collect();
        let mut named: Vec<&Value> = Vec::new();
        for value in conditions.iter().copied().flatten() {
            if can_take(&parameter.distribution, value) && !named.contains(&value) {
                named.push(value);
            }
        }
        let mut classes: Vec<(Vec<bool>, Class)> = Vec::new();
        for value in &named {
            let signature: Vec<bool> = conditions.iter().map(|values| values.contains(value)).collect();
            match classes.iter_mut().find(|(known, _)| *known == signature) {
                Some((_, class)) => class.count += 1,
                None => classes.push((signature, Class { value: Some((*value).clone()), count: 1 })),
            }
        }
        let mut classes: Vec<Class> = classes.into_iter().map(|(_, class)| class).collect();
        let others = size.saturating_sub(named.len() as u64);
        if others > 0 {
            classes.push(Class { value: None, count: others });
        }
        Some(classes)
    }
}

/// Whether a parent can have the value; only choices and integers are parents.
pub(crate) fn can_take(distribution: &Distribution, value: &Value) -> bool {
    match (distribution, value) {
        (Distribution::Choice { values, .. }, value) => values.contains(value),
        (distribution, Value::Number(number)) => {
            distribution.integers().is_some_and(|integers| integers.index(*number).is_some())
        }
        _ => false,
    }
}
