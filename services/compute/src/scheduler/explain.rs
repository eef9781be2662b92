//! Why a job waits, in words.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use vocabulary::JobId;

use super::{Entry, Fleet, Pool, Shape};
use crate::cluster::{NodeState, Phase};
use crate::job::{Job, JobPhase};

/// Jobs before one that are counted: a list of jobs explains each of them.
const COUNTED_MAX: usize = 1000;
/// Jobs on the nodes that are looked at for who holds them, for the same reason.
const HELD_MAX: usize = 200;
/// Holders that are named.
const HOLDERS_SHOWN: usize = 3;

/// Whose a job is, as people know it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Holder<'a> {
    Deployment(&'a str, &'a str),
    Sweep(&'a str),
    Run(&'a str),
}

impl<'a> Holder<'a> {
    fn of(job: &'a Job) -> Self {
        match (&job.spec.service, &job.spec.sweep_id) {
            (Some(service), _) => Self::Deployment(&service.endpoint, &service.deployment),
            (None, Some(sweep_id)) => Self::Sweep(sweep_id),
            (None, None) => Self::Run(&job.key.run_id),
        }
    }
}

impl std::fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Deployment(endpoint, name) => write!(f, "deployment {endpoint}/{name}"),
            Self::Sweep(sweep_id) => write!(f, "sweep {sweep_id}"),
            Self::Run(run_id) => write!(f, "run {run_id}"),
        }
    }
}

impl Fleet {
    /// Why a job stands where it stands; empty for one that is over.
    pub fn explain(&self, job_id: JobId) -> String {
        if let Some(why) = self.left_alone.get(&job_id) {
            return format!("the scheduler leaves it alone: {why}");
        }
        let Some(entry) = self.jobs.get(&job_id) else { return String::new() };
        if let Some(how) = self.stranded.get(&job_id) {
            return format!("its node was {}; the attempt is being ended", format!("{how:?}").to_lowercase());
        }
        if entry.job.phase != JobPhase::Queued {
            return entry.job.reason.clone();
        }
        if let Some((_, detail)) = self.unschedulable.get(&job_id) {
            return detail.clone();
        }
        if let Some(why) = self.unreadable.get(&entry.cluster()) {
            return format!("cluster '{}' is left alone: {why}", entry.job.key.cluster);
        }
        let Some(pool) = self.pools.get(&entry.cluster()) else { return String::new() };
        let ticket = entry.ticket(job_id);
        let before: usize = pool.queue.values().map(|tickets| tickets.range(..ticket).take(COUNTED_MAX).count()).sum();
        let before = match before {
            1 => "1 job is".to_owned(),
            COUNTED_MAX.. => format!("at least {COUNTED_MAX} jobs are"),
            before => format!("{before} jobs are"),
        };
        let again = if entry.job.reason.is_empty() { String::new() } else { format!("; {}", entry.job.reason) };
        let standing = match standing(pool) {
            Standing::Full(text) => text + &self.holders(pool, entry),
            Standing::Other(text) => text,
        };
        format!("claims {}; {before} before it; {standing}{again}", entry.shape)
    }

    /// What is wrong with the node that a job is on; empty when nothing is.
    pub fn node_trouble(&self, job_id: JobId) -> String {
        let Some(entry) = self.jobs.get(&job_id) else { return String::new() };
        let place = entry.job.node_id.and_then(|node| self.pools.get(&entry.cluster())?.places.get(&node));
        place.map(|place| place.trouble.clone()).unwrap_or_default()
    }

    /// Where the job of a replica that is not ready stands: what its deployment waits for.
    pub fn explain_replica(&self, job_id: JobId) -> String {
        let why = self.explain(job_id);
        let Some(entry) = self.jobs.get(&job_id) else {
            let why = if why.is_empty() { "its job is on its way to the scheduler" } else { why.as_str() };
            return format!("waits: {why}");
        };
        let stands = match entry.job.phase {
            JobPhase::Queued => return format!("waits for room on cluster '{}': {why}", entry.job.key.cluster),
            JobPhase::Placed | JobPhase::Starting => "is starting on its node",
            JobPhase::Preparing => "prepares its environment",
            JobPhase::Running => "loads the model",
            _ => "is ending",
        };
        if why.is_empty() { stands.to_owned() } else { format!("{stands}: {why}") }
    }

    /// Who has the nodes that a job waits for, those with the most first; nothing when it is the job's own sweep.
    fn holders(&self, pool: &Pool, waiting: &Entry) -> String {
        let own = Holder::of(&waiting.job);
        let on_nodes = pool.places.values().flat_map(|place| place.jobs.keys());
        let held = on_nodes.take(HELD_MAX).filter_map(|job_id| self.jobs.get(job_id));
        let mut claims: BTreeMap<Holder<'_>, Shape> = BTreeMap::new();
        for entry in held {
            let claim = claims.entry(Holder::of(&entry.job)).or_default();
            *claim = claim.plus(entry.shape);
        }
        let mut others: Vec<_> = claims.into_iter().filter(|(holder, _)| *holder != own).collect();
        others.sort_by_key(|(holder, claim)| (Reverse(*claim), *holder));
        if others.is_empty() {
            return String::new();
        }
        let named = others.iter().take(HOLDERS_SHOWN).map(|(holder, claim)| format!("{holder} {claim}"));
        let more = match others.len().saturating_sub(HOLDERS_SHOWN) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        format!("; busy: {}{more}", named.collect::<Vec<_>>().join(", "))
    }
}

/// How the nodes of a cluster stand.
enum Standing {
    /// All that it may have are there, and somebody has them.
    Full(String),
    /// It is something else.
    Other(String),
}

fn standing(pool: &Pool) -> Standing {
    let cluster = &pool.cluster;
    if cluster.phase == Phase::Deleting {
        return Standing::Other("the cluster is being deleted".to_owned());
    }
    let max = cluster.spec.scale.max_nodes;
    let count = |wanted: fn(&NodeState) -> bool| cluster.nodes.values().filter(|node| wanted(&node.state)).count();
    let coming = count(|state| *state == NodeState::Requested);
    let ready = count(|state| *state == NodeState::Ready);
    if max == 0 {
        return Standing::Other("the cluster may have no nodes: scale.max_nodes is 0".to_owned());
    }
    if coming > 0 {
        let booting = if coming == 1 { "1 node is".to_owned() } else { format!("{coming} nodes are") };
        return Standing::Other(format!("{booting} booting, {ready} ready, at most {max} allowed"));
    }
    if cluster.boot_failures > 0 {
        let last = cluster.errors.back().map_or("", String::as_str);
        let failures = cluster.boot_failures;
        return Standing::Other(format!("{failures} nodes in a row did not come up ({last}); another try follows"));
    }
    if cluster.nodes.len() > max as usize {
        let there = cluster.nodes.len();
        let beyond = "those beyond take no jobs";
        return Standing::Full(format!("{there} nodes are there and {max} allowed (scale.max_nodes), {beyond}"));
    }
    if cluster.nodes.len() >= max as usize {
        return Standing::Full(match max {
            1 => "its only node is busy (scale.max_nodes is 1)".to_owned(),
            max => format!("all {max} nodes are busy (scale.max_nodes)"),
        });
    }
    Standing::Other(format!("a node is being asked for; {ready} of at most {max} are ready"))
}
