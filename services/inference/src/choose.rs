//! Which deployment answers: the one that a header names, or a draw by weight among those that are ready. Pure.

use std::sync::Arc;

use crate::table::{Deployment, Endpoint};

/// Where a request goes.
#[derive(Debug)]
pub enum Choice<'a> {
    /// To a deployment. It may have no ready replica: then none of those that could be drawn has, and the request
    /// waits for one.
    To(&'a Arc<Deployment>),
    /// No deployment has weight.
    NoWeight,
    /// The header names none of the endpoint's.
    Unknown,
}

/// Chooses; `draw` is uniform over all of u64. The share of a deployment that is not ready goes to the ready ones in
/// proportion.
pub fn choose<'a>(endpoint: &'a Endpoint, named: Option<&str>, draw: u64) -> Choice<'a> {
    if let Some(name) = named {
        let found = endpoint.deployments.iter().find(|deployment| deployment.name == name);
        return found.map_or(Choice::Unknown, Choice::To);
    }
    let ready = |deployment: &&Arc<Deployment>| deployment.is_ready();
    let drawn = drawn(|| endpoint.deployments.iter().filter(ready), draw);
    drawn.or_else(|| self::drawn(|| endpoint.deployments.iter(), draw)).map_or(Choice::NoWeight, Choice::To)
}

fn drawn<'a, I>(among: impl Fn() -> I, draw: u64) -> Option<&'a Arc<Deployment>>
where
    I: Iterator<Item = &'a Arc<Deployment>>,
{
    let total: u64 = among().map(|deployment| u64::from(deployment.weight)).sum();
    // Exact to one part in 2^64 / total: no share is off by more than a rounding.
    let mut ticket = u64::try_from((u128::from(draw) * u128::from(total)) >> 64).unwrap_or_default();
    among().find(|deployment| {
        let weight = u64::from(deployment.weight);
        let is_hit = ticket < weight;
        ticket = ticket.saturating_sub(weight);
        is_hit
    })
}
