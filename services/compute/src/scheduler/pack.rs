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

/// Fills the nodes of a pool from its queue; at most `room` more nodes may be asked for.
pub(super) fn pack(pool: &Pool, room: usize) -> Packing {
    let mut packing = Packing::default();
    if pool.queue.is_empty() {
        return packing;
    }
    let mut bins = bins_of(pool);
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
        let Some(bin) = best(&mut bins, *shape, pool.capacity(), room, &mut packing.new_nodes) else {
            // Nothing fits this shape, so nothing fits the others of it: the next shape is looked at.
            continue;
        };
        let free = bin.free;
        bin.free = bin.free.minus(*shape);
        match bin.kind {
            Kind::Open(node_id) => packing.placed.push(Placed { job_id, node_id, free, shape: *shape }),
            Kind::Coming | Kind::New => packing.waiting += 1,
        }
        heads.extend(tickets.next().map(|ticket| (*ticket, index)));
    }
    packing
}

fn bins_of(pool: &Pool) -> Vec<Bin> {
    let bin = |(node_id, place): (&NodeId, &super::Place)| {
        let kind = if Fleet::is_open(pool, *node_id, place) {
            Kind::Open(*node_id)
        } else {
            let state = pool.cluster.nodes.get(node_id)?.state;
            // A node that has lost its connection for the moment counts as one that comes.
            let comes = matches!(state, NodeState::Requested | NodeState::Ready) && !place.removing;
            comes.then_some(Kind::Coming)?
        };
        Some(Bin { kind, free: pool.free(place) })
    };
    pool.places.iter().filter_map(bin).collect()
}

/// The fullest bin of the best kind that the shape fits; a new one when there is none and room for one.
fn best<'a>(
    bins: &'a mut Vec<Bin>,
    shape: Shape,
    capacity: Shape,
    room: usize,
    new_nodes: &mut usize,
) -> Option<&'a mut Bin> {
    let fitting = bins.iter().enumerate().filter(|(_, bin)| shape.fits(bin.free));
    let found = fitting.min_by_key(|(index, bin)| (bin.kind.rank(), bin.free, *index)).map(|(i, _)| i);
    let index = match found {
        Some(index) => index,
        None if *new_nodes < room && shape.fits(capacity) => {
            *new_nodes += 1;
            bins.push(Bin { kind: Kind::New, free: capacity });
            bins.len() - 1
        }
        None => return None,
    };
    bins.get_mut(index)
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
