//! Room that is kept for a job between the look that found it and the event that places the job.

use vocabulary::JobId;
use vocabulary::job::JobSpec;

use super::fold::misfit;
use super::pack::best_open;
use super::plan::why_placed;
use super::{Fleet, Shape};
use crate::cluster::Phase;
use crate::job::{JobKey, Reserved};
use crate::stream::ClusterName;

impl Fleet {
    /// Keeps room for a job that is about to be queued; `None` when it has to wait: behind others, whatever they claim,
    /// or for a node. The room is kept until its event comes in, or [`Fleet::unreserve`];
    /// whoever asks again meanwhile gets none.
    pub fn reserve(&mut self, job_id: JobId, key: &JobKey, spec: &JobSpec) -> Option<Reserved> {
        let name = ClusterName::new(&key.workspace, &key.cluster);
        let shape = Shape::of_job(spec);
        let pool = self.pools.get(&name).filter(|pool| pool.cluster.phase == Phase::Live && pool.queue.is_empty())?;
        let is_known = self.jobs.contains_key(&job_id) || self.reserved.contains_key(&job_id);
        if is_known || misfit(spec, shape, pool).is_some() {
            return None;
        }
        let placed = best_open(pool, job_id, shape)?;
        let reserved = Reserved { node_id: placed.node_id, reason: why_placed(pool, &placed, 1) };
        self.reserved.insert(job_id, reserved.node_id);
        if let Some(place) = self.place_mut(reserved.node_id) {
            place.reserved.insert(job_id, shape);
        }
        Some(reserved)
    }

    /// The job has come, or does not.
    pub fn unreserve(&mut self, job_id: JobId) {
        let Some(node_id) = self.reserved.remove(&job_id) else { return };
        if let Some(place) = self.place_mut(node_id) {
            place.reserved.remove(&job_id);
        }
    }
}
