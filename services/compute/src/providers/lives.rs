//! How long a node lives before a simulated preemption: a function of the seed and the node's ordinal alone, so that a
//! demonstration can be repeated.

use vocabulary::{Entropy, SeededEntropy};

use crate::cluster::{LocalSettings, Preemption, VmPriority};
use crate::job::micros;

/// Bits of a double's mantissa.
const MANTISSA_BITS: u32 = 53;
/// 2^64 divided by the golden ratio: spreads ordinals over the seeds.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// How long a node lives before it is told that it goes, in microseconds; `None` when it may stay.
pub(super) fn life_us(settings: &LocalSettings, tier: VmPriority, ordinal: u64) -> Option<i64> {
    let Preemption::Exponential { mean_seconds, seed } = settings.preemption else { return None };
    if tier != VmPriority::LowPriority {
        return None;
    }
    Some(micros(life_seconds(mean_seconds, seed, ordinal) * settings.time_scale))
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

    #[test]
    fn only_low_priority_nodes_are_taken_and_only_where_that_is_asked_for() {
        let preemption = Preemption::Exponential { mean_seconds: 25.0, seed: 11 };
        let lively = LocalSettings { preemption, ..LocalSettings::default() };
        assert!(life_us(&lively, VmPriority::LowPriority, 0).is_some_and(|life| life > 0));
        assert_eq!(life_us(&lively, VmPriority::Dedicated, 0), None);
        assert_eq!(life_us(&LocalSettings::default(), VmPriority::LowPriority, 0), None);
        let fast = LocalSettings { time_scale: 0.1, ..lively.clone() };
        let life = |settings| life_us(settings, VmPriority::LowPriority, 3).unwrap_or_default();
        assert!((life(&lively) - 10 * life(&fast)).abs() < 20);
    }
}
