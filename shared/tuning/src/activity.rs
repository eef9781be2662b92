//! Which parameters are active: the conditions of a space, in an order in which parents come first.

use crate::space::{Parameter, SearchSpace};
use crate::value::Value;

/// A condition with the place of its parent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link<'a> {
    pub parent: usize,
    pub values: &'a [Value],
}

/// A space, read once for many proposals.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub parameters: &'a [Parameter],
    /// The conditions of each parameter.
    pub links: Vec<Vec<Link<'a>>>,
    /// Parents before children, otherwise as written. Parameters on or behind a cycle, or with an unknown parent, are
    /// left out and so never active; the check of the space refuses them.
    pub order: Vec<usize>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(space: &'a SearchSpace) -> Self {
        let parameters = space.parameters.as_slice();
        let place = |name: &str| parameters.iter().position(|parameter| parameter.name == name);
        let mut sound = vec![true; parameters.len()];
        let mut links = Vec::with_capacity(parameters.len());
        for (index, parameter) in parameters.iter().enumerate() {
            let mut own = Vec::with_capacity(parameter.when.len());
            for condition in &parameter.when {
                match place(&condition.parent) {
                    Some(parent) => own.push(Link { parent, values: &condition.values }),
                    None => sound[index] = false,
                }
            }
            links.push(own);
        }
        let order = parents_first(&links, &sound);
        Self { parameters, links, order }
    }

    /// The values of the active parameters, by place. `pick` is asked for active parameters only, parents first.
    pub(crate) fn resolve(&self, mut pick: impl FnMut(usize) -> Value) -> Vec<Option<Value>> {
        let mut values = vec![None; self.parameters.len()];
        for &index in &self.order {
            let active = self.links[index]
                .iter()
                .all(|link| values[link.parent].as_ref().is_some_and(|value| link.values.contains(value)));
            if active {
                values[index] = Some(pick(index));
            }
        }
        values
    }
}

/// A topological order that takes, at each turn, every parameter whose parents have been taken.
fn parents_first(links: &[Vec<Link<'_>>], sound: &[bool]) -> Vec<usize> {
    let mut taken = vec![false; links.len()];
    let mut order = Vec::with_capacity(links.len());
    loop {
        let before = order.len();
        for index in 0..links.len() {
            if !taken[index] && sound[index] && links[index].iter().all(|link| taken[link.parent]) {
                taken[index] = true;
                order.push(index);
            }
        }
        if order.len() == before {
            return order;
        }
    }
}
