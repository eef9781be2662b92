//! Why a job waits, in words.

use vocabulary::JobId;

use super::{Fleet, Pool};
use crate::cluster::{NodeState, Phase};
use crate::job::JobPhase;

/// Jobs before one that are counted: a list of jobs explains each of them.
const COUNTED_MAX: usize = 1000;

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
        let before = if before >= COUNTED_MAX { format!("at least {COUNTED_MAX}") } else { before.to_string() };
        let again = if entry.job.reason.is_empty() { String::new() } else { format!("; {}", entry.job.reason) };
        format!("claims {}; {before} jobs are before it; {}{again}", entry.shape, standing(pool))
    }
}

fn standing(pool: &Pool) -> String {
    let cluster = &pool.cluster;
    if cluster.phase == Phase::Deleting {
        return "the cluster is being deleted".to_owned();
    }
    let max = cluster.spec.scale.max_nodes;
    let count = |wanted: fn(&NodeState) -> bool| cluster.nodes.values().filter(|node| wanted(&node.state)).count();
    let coming = count(|state| *state == NodeState::Requested);
    let ready = count(|state| *state == NodeState::Ready);
    if max == 0 {
        return "the cluster may have no nodes: scale.max_nodes is 0".to_owned();
    }
    if coming > 0 {
        return format!("{coming} nodes are booting, {ready} are ready, at most {max} are allowed");
    }
    if cluster.boot_failures > 0 {
        let last = cluster.errors.back().map_or("", String::as_str);
        return format!("{} nodes in a row did not come up ({last}); another try follows", cluster.boot_failures);
    }
    if cluster.nodes.len() > max as usize {
        let there = cluster.nodes.len();
        return format!("{there} nodes are there and {max} are allowed (scale.max_nodes); those beyond take no jobs");
    }
    if cluster.nodes.len() >= max as usize {
        return format!("all of at most {max} nodes are busy (scale.max_nodes)");
    }
    format!("a node is being asked for; {ready} of at most {max} are ready")
}
