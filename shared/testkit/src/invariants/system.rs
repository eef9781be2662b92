//! What holds across services.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Checked;
use super::observed::Installation;

fn json(data: &str) -> Value {
    serde_json::from_str(data).unwrap_or_default()
}

/// A node is asked for by one event, whose id the provider gets: it becomes ready once at most, and each of them is
/// gone when all clusters are.
pub(super) fn intents_end_and_have_one_resource(installation: &Installation) -> Checked {
    let (mut asked, mut ready, mut gone) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for event in installation.events("compute") {
        let Some(node) = json(&event.data)["node_id"].as_str().map(str::to_owned) else { continue };
        match event.kind.as_str() {
            "NodeRequested" if !asked.insert(node.clone()) => return Err(format!("{node} was asked for twice")),
            "NodeReady" if !asked.contains(&node) => return Err(format!("{node} is there, and nobody asked for it")),
            "NodeReady" if gone.contains(&node) => return Err(format!("{node} is there after its end")),
            "NodeReady" if !ready.insert(node.clone()) => return Err(format!("{node} became ready twice")),
            "NodeReleased" | "NodeFailed" | "NodePreempted" => drop(gone.insert(node)),
            _ => {}
        }
    }
    match asked.difference(&gone).next().filter(|_| installation.is_drained) {
        Some(node) => Err(format!("{node} was asked for and has no end, although every cluster is deleted")),
        None => Ok(()),
    }
}

pub(super) fn reads_see_what_they_ask_for(installation: &Installation) -> Checked {
    match installation.reads.iter().find(|read| read.seen < read.wanted) {
        Some(read) => Err(format!("version {} was acknowledged, and {} read after it", read.wanted, read.seen)),
        None => Ok(()),
    }
}

pub(super) fn batches_are_there_once(installation: &Installation) -> Checked {
    let none = BTreeMap::new();
    let writers = installation.logs.get("runs").map_or(&none, |log| &log.writers);
    for (run, writer, sequence) in &installation.batches {
        let last = writers.get(&(run.clone(), writer.clone())).copied().unwrap_or_default();
        if last < *sequence {
            return Err(format!(
                "batch {sequence} of {writer} on {run} was acknowledged, the last one stored is {last}"
            ));
        }
    }
    let (mut acknowledged, mut stored) = (installation.acknowledged_points.clone(), installation.stored_points.clone());
    acknowledged.sort_unstable();
    stored.sort_unstable();
    let wrong = acknowledged.iter().zip(&stored).find(|(acknowledged, stored)| acknowledged != stored);
    match wrong {
        Some((acknowledged, stored)) => {
            Err(format!("the point {acknowledged:?} was acknowledged, {stored:?} is there"))
        }
        None if acknowledged.len() != stored.len() => {
            Err(format!("{} points were acknowledged, {} are there", acknowledged.len(), stored.len()))
        }
        None => Ok(()),
    }
}

/// An attempt lives from its place on a node until it is queued again, held or ended.
pub(super) fn attempts_live_one_at_a_time(installation: &Installation) -> Checked {
    let mut live: BTreeMap<String, u64> = BTreeMap::new();
    let mut newest: BTreeMap<String, u64> = BTreeMap::new();
    for event in installation.events("compute") {
        let data = json(&event.data);
        let Some(job) = data["job"]["run_id"].as_str().map(str::to_owned) else { continue };
        match event.kind.as_str() {
            "JobPlaced" => {
                let attempt = data["attempt"].as_u64().unwrap_or_default();
                if let Some(other) = live.insert(job.clone(), attempt) {
                    return Err(format!("{job}: attempt {attempt} begins while attempt {other} lives"));
                }
                if newest.insert(job.clone(), attempt).is_some_and(|before| before >= attempt) {
                    return Err(format!("{job}: attempt {attempt} begins again"));
                }
            }
            "JobRequeued" | "JobEnded" | "JobHeld" => drop(live.remove(&job)),
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn suggestions_are_recomputed(installation: &Installation) -> Checked {
    installation.differences.first().map_or(Ok(()), |difference| Err(difference.clone()))
}

pub(super) fn traffic_sums_to_100(installation: &Installation) -> Checked {
    for event in installation.events("compute").iter().filter(|event| event.kind == "TrafficSet") {
        let shares = json(&event.data)["traffic"].as_object().cloned().unwrap_or_default();
        let sum: u64 = shares.values().filter_map(Value::as_u64).sum();
        if sum != 100 && !shares.is_empty() {
            return Err(format!("{}: the shares {shares:?} sum to {sum}", event.stream));
        }
    }
    Ok(())
}

pub(super) fn secrets_are_nowhere(installation: &Installation) -> Checked {
    let events = installation.logs.iter().flat_map(|(service, log)| {
        let texts = log.events.iter().flat_map(|event| [&event.data, &event.meta]);
        texts.map(move |text| (format!("an event of {service}"), text))
    });
    let topics = installation.topics.iter().flat_map(|(service, records)| {
        let headers = records.iter().flat_map(|record| record.headers.values());
        headers.map(move |text| (format!("the topic of {service}"), text))
    });
    let texts = installation.texts.iter().map(|(name, text)| (name.clone(), text));
    let mut everywhere = events.chain(topics).chain(texts);
    // A failure is printed: the secret must not be in that either.
    let found = everywhere.find(|(_, text)| {
        installation.secrets.iter().any(|secret| !secret.is_empty() && text.contains(secret.as_str()))
    });
    found.map_or(Ok(()), |(place, _)| Err(format!("a secret is in {place}")))
}
