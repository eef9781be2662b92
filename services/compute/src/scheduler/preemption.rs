//! When a simulated preemption comes: a function of the seed and the node's ordinal alone, so that a demonstration
//! can be repeated.

use vocabulary::{Entropy, SeededEntropy};

use super::Pool;
use crate::cluster::{Node, Preemption, VmPriority};
use crate::job::micros;

/// Bits of a double's mantissa.
const MANTISSA_BITS: u32 = 53;
/// 2^64 divided by the golden ratio: spreads ordinals over the seeds.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// When the node will be told that it goes; `None` when it may stay.
pub(super) fn due_us(pool: &Pool, node: &Node) -> Option<i64> {
    let settings = pool.cluster.spec.provider.local();
    let Preemption::Exponential { mean_seconds, seed } = settings.preemption else { return None };
    if pool.cluster.spec.vm_priority != VmPriority::LowPriority {
        return None;
    }
    let life = life_seconds(mean_seconds, seed, node.ordinal) * settings.time_scale;
    Some(node.ready_us.saturating_add(micros(life)))
}

fn life_seconds(mean_seconds: f64, seed: u64, ordinal: u64) -> f64 {
    let bits = SeededEntropy::new(seed ^ ordinal.wrapping_add(1).wrapping_mul(SPREAD)).seed() >> (64 - MANTISSA_BITS);
    let uniform = bits as f64 / (1u64 << MANTISSA_BITS) as f64;
    -mean_seconds * (1.0 - uniform).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_exponential_and_repeatable() {
        // A demonstration with seed 11 must go the same way tomorrow.
        let lives: Vec<f64> = (0..20_000).map(|ordinal| life_seconds(25.0, 11, ordinal)).collect();
        assert_eq!(lives[7], life_seconds(25.0, 11, 7));
        assert_ne!(lives[7], life_seconds(25.0, 12, 7));
        let mean = lives.iter().sum::<f64>() / lives.len() as f64;
        assert!((24.0..26.0).contains(&mean), "{mean}");
        let beyond = lives.iter().filter(|life| **life > 50.0).count() as f64 / lives.len() as f64;
        assert!((0.12..0.15).contains(&beyond), "e^-2 = 0.135, got {beyond}");
    }
}
