//! Puts waiting jobs on nodes: those that are there, those that come, and those that would have to be asked for.

use std::collections::BTreeSet;

use vocabulary::{JobId, NodeId};

use super::fleet::Ticket;
use super::{Fleet, Pool, Shape};
use crate::cluster::NodeState;

/// Jobs placed by one look: what is left is placed by the next, which begins as soon as these are written down.
const PLACED_MAX: usize = 512;

/// A node in the making of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Open(NodeId),
    Coming,
    New,
}

struct Bin {
    kind: Kind,
    free: Shape,
    /// The node; `None` for one that would have to be asked for.
    node_id: Option<NodeId>,
    /// What this plan has put there.
    jobs: Vec<JobId>,
}

/// One revision of a deployment: its replicas are kept apart, so that a node that goes takes one of them only.
type Revision<'a> = (&'a str, &'a str, i64);

fn revision_of(fleet: &Fleet, job_id: JobId) -> Option<Revision<'_>> {
    let service = fleet.jobs.get(&job_id)?.job.spec.service.as_ref()?;
    Some((&service.endpoint, &service.deployment, service.revision))
}

/// A job that goes on a node now.
pub(super) struct Placed {
    pub job_id: JobId,
    pub node_id: NodeId,
    /// What the node had free before.
    pub free: Shape,
    /// What the job claims.
    pub shape: Shape,
}

/// What one cluster's queue leads to.
#[derive(Default)]
pub(super) struct Packing {
    pub placed: Vec<Placed>,
    /// Nodes that have to be asked for.
    pub new_nodes: usize,
    /// Jobs that wait for nodes that come or are asked for.
    pub waiting: usize,
    /// Whether some jobs were not looked at.
    pub cut_short: bool,
}

/// Fills the nodes of a pool from its queue, but for the `surplus` ones, which are to become empty; at most `room` more
/// nodes may be asked for.
pub(super) fn pack(fleet: &Fleet, pool: &Pool, surplus: &BTreeSet<NodeId>, room: usize) -> Packing {
    let mut packing = Packing::default();
    if pool.queue.is_empty() {
        return packing;
    }
    let mut bins = bins_of(pool, surplus);
    let mut shapes: Vec<_> = pool.queue.iter().map(|(shape, tickets)| (*shape, tickets.iter())).collect();
    let mut heads: BTreeSet<(Ticket, usize)> = BTreeSet::new();
    for (index, (_, tickets)) in shapes.iter_mut().enumerate() {
        heads.extend(tickets.next().map(|ticket| (*ticket, index)));
    }
    while let Some(((_, _, job_id), index)) = heads.pop_first() {
        if packing.placed.len() >= PLACED_MAX {
            packing.cut_short = true;
            break;
        }
        let (shape, tickets) = &mut shapes[index];
        let spread = Spread { fleet, pool, revision: revision_of(fleet, job_id) };
        let Some(bin) = spread.best(&mut bins, *shape, room, &mut packing.new_nodes) else {
            // Nothing fits this shape, so nothing fits the others of it: the next shape is looked at.
            continue;
        };
        let free = bin.free;
        bin.free = bin.free.minus(*shape);
        bin.jobs.push(job_id);
        match bin.kind {
            Kind::Open(node_id) => packing.placed.push(Placed { job_id, node_id, free, shape: *shape }),
            Kind::Coming | Kind::New => packing.waiting += 1,
        }
        heads.extend(tickets.next().map(|ticket| (*ticket, index)));
    }
    packing
}

/// The node on which a job that nobody waits before goes now: the fullest that suffices.
pub(super) fn best_open(pool: &Pool, job_id: JobId, shape: Shape) -> Option<Placed> {
    let bins = bins_of(pool, &pool.surplus());
    let open = bins.into_iter().filter_map(|bin| match bin.kind {
        Kind::Open(node_id) if shape.fits(bin.free) => Some((bin.free, node_id)),
        _ => None,
    });
    let (free, node_id) = open.min_by_key(|(free, _)| *free)?;
    Some(Placed { job_id, node_id, free, shape })
}

fn bins_of(pool: &Pool, surplus: &BTreeSet<NodeId>) -> Vec<Bin> {
    let bin = |(node_id, place): (&NodeId, &super::Place)| {
        let kind = if Fleet::is_open(pool, *node_id, place) {
            Kind::Open(*node_id)
        } else {
            let state = pool.cluster.nodes.get(node_id)?.state;
            // A node that has lost its connection for the moment counts as one that comes.
            let comes = matches!(state, NodeState::Requested | NodeState::Ready) && !place.removing;
            comes.then_some(Kind::Coming)?
        };
        Some(Bin { kind, free: pool.free(place), node_id: Some(*node_id), jobs: Vec::new() })
    };
    pool.places.iter().filter(|(node_id, _)| !surplus.contains(node_id)).filter_map(bin).collect()
}

/// Where a job goes.
struct Spread<'a> {
    fleet: &'a Fleet,
    pool: &'a Pool,
    /// Set in a replica.
    revision: Option<Revision<'a>>,
}

impl Spread<'_> {
    /// The replicas of the same revision that are in a bin.
    fn alike(&self, bin: &Bin) -> usize {
        if self.revision.is_none() {
            return 0;
        }
        let there = bin.node_id.and_then(|node_id| self.pool.places.get(&node_id));
        let jobs = there.into_iter().flat_map(|place| place.jobs.keys()).chain(&bin.jobs);
        jobs.filter(|job_id| revision_of(self.fleet, **job_id) == self.revision).count()
    }

    /// The fullest bin of the best kind that the shape fits; a new one when there is none and room for one. A replica
    /// goes where the fewest of its revision are, and on a new node rather than beside another one; but it does not
    /// wait for nodes that do not come up.
    fn best<'b>(
        &self,
        bins: &'b mut Vec<Bin>,
        shape: Shape,
        room: usize,
        new_nodes: &mut usize,
    ) -> Option<&'b mut Bin> {
        let nodes_come = self.pool.cluster.boot_failures == 0;
        let rank = |bin: &Bin| {
            let is_there = matches!(bin.kind, Kind::Open(_));
            (!is_there && !nodes_come, self.alike(bin), bin.kind.rank(), bin.free)
        };
        let fitting = bins.iter().enumerate().filter(|(_, bin)| shape.fits(bin.free));
        let found = fitting.map(|(index, bin)| (rank(bin), index)).min();
        let would_crowd = found.is_some_and(|((_, alike, ..), _)| alike > 0 && nodes_come);
        let capacity = self.pool.capacity();
        let index = match found {
            Some((_, index)) if !(would_crowd && *new_nodes < room) => index,
            _ if *new_nodes < room && shape.fits(capacity) => {
                *new_nodes += 1;
                bins.push(Bin { kind: Kind::New, free: capacity, node_id: None, jobs: Vec::new() });
                bins.len() - 1
            }
            Some((_, index)) => index,
            None => return None,
        };
        bins.get_mut(index)
    }
}

impl Kind {
    fn rank(self) -> u8 {
        match self {
            Self::Open(_) => 0,
            Self::Coming => 1,
            Self::New => 2,
        }
    }
}
