//! What is counted of endpoints, as `/metrics` shows it.

use std::collections::BTreeMap;

use contracts::health::Family;

use crate::counts::{BUCKETS_SECONDS, Counted};
use crate::table::Table;

/// The families of all endpoints; without names, which are for who may see all workspaces, one number for all.
pub fn families(table: &Table, with_names: bool) -> Vec<Family> {
    let mut all: BTreeMap<[&str; 3], Counted> = BTreeMap::new();
    for (workspace, endpoint, deployment, counts) in table.counts() {
        let names = if with_names { [workspace, endpoint, deployment] } else { [""; 3] };
        all.entry(names).or_default().add(&counts.counted());
    }
    let help = "Scoring requests by the status of their answer; an admin's token shows them by endpoint.";
    let mut requests = Family::counter("trialog_endpoint_requests_total", help);
    let help = "How long scoring requests took, from their arrival to their answer.";
    let mut seconds = Family::histogram("trialog_endpoint_request_seconds", help);
    for (names, counted) in all.iter().filter(|(_, counted)| !counted.answers.is_empty()) {
        let labels: Vec<_> = ["workspace", "endpoint", "deployment"].into_iter().zip(*names).collect();
        let labels = if with_names { labels } else { Vec::new() };
        for (status, count) in &counted.answers {
            let status = status.to_string();
            requests.add("", &[labels.as_slice(), &[("status", &status)]].concat(), *count as f64);
        }
        let total: u64 = counted.answers.values().sum();
        let mut below = 0;
        for (bound, count) in BUCKETS_SECONDS.iter().zip(counted.buckets) {
            below += count;
            let bound = bound.to_string();
            seconds.add("_bucket", &[labels.as_slice(), &[("le", &bound)]].concat(), below as f64);
        }
        seconds.add("_bucket", &[labels.as_slice(), &[("le", "+Inf")]].concat(), total as f64);
        seconds.add("_sum", &labels, counted.seconds);
        seconds.add("_count", &labels, total as f64);
    }
    vec![requests, seconds]
}
