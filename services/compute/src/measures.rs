//! What the service measures: nodes, jobs and the queue. Nothing here reads the log.

use std::collections::BTreeMap;

use contracts::health::Family;
use eventlog::Error;

use crate::api::{Api, node_states};
use crate::views;

/// What cannot be read now is left out.
pub(crate) async fn measure(api: &Api) -> Vec<Family> {
    let mut families = vec![nodes(api)];
    match jobs(api).await {
        Ok(counted) => families.extend(counted),
        Err(error) => tracing::warn!("jobs cannot be counted: {error}"),
    }
    families
}

fn nodes(api: &Api) -> Family {
    let fleet = api.fleet.lock();
    let mut counts: BTreeMap<&'static str, f64> = BTreeMap::new();
    for (state, count) in fleet.pools().flat_map(node_states) {
        *counts.entry(state).or_default() += f64::from(count);
    }
    let family = Family::gauge("trialog_nodes", "Nodes of all clusters, by state.");
    counts.iter().fold(family, |family, (state, count)| family.with(&[("state", state)], *count))
}

async fn jobs(api: &Api) -> Result<Vec<Family>, Error> {
    let (log, now_us) = (&api.commands.log, api.commands.clock.now_us());
    let mut live = Family::gauge("trialog_jobs", "Jobs that have not ended, by state.");
    let (mut depth, mut oldest) = (0, None);
    for (state, count, queued_at_us) in views::live_counts(log.reader()).await? {
        live = live.with(&[("state", &state)], count as f64);
        if state == "queued" {
            (depth, oldest) = (count, Some(queued_at_us));
        }
    }
    let waited = oldest.map_or(0.0, |since_us| now_us.saturating_sub(since_us).max(0) as f64 / 1e6);
    let help = "Seconds since the oldest of the jobs that wait for a node was queued; 0 when none waits.";
    let age = Family::gauge("trialog_queue_age_seconds", help).with(&[], waited);
    let depth = Family::gauge("trialog_queue_jobs", "Jobs that wait for a node.").with(&[], depth as f64);
    let mut ended = Family::counter("trialog_jobs_ended_total", "Jobs that have ended, by how.");
    let mut preemptions = 0;
    for (name, count) in views::totals(log.reader()).await? {
        match name.strip_prefix(views::ENDED) {
            Some(outcome) => ended = ended.with(&[("outcome", outcome)], count as f64),
            None if name == views::PREEMPTED => preemptions = count,
            None => {}
        }
    }
    let help = "Attempts that ended since their node was taken away, and were queued again.";
    let preemptions = Family::counter("trialog_preemptions_total", help).with(&[], preemptions as f64);
    Ok(vec![live, depth, age, ended, preemptions])
}
