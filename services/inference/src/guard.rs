//! The guard against poison: a request that ended replicas is not sent to the next ones again and again.
//!
//! One replica may go away by accident while it works; that request is tried once more, and an answer clears it. Two
//! that go away over the same content are no accident: it is refused for a while, then sent once without a second try,
//! and refused for longer when that ends a replica too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::frame::Kind;

/// Replicas that a request may end before it is refused.
const DEATHS_MAX: u32 = 2;
/// How long it is refused first, in seconds: about what a replica needs to come back. Doubled with each further one.
const REFUSED_SECONDS: u32 = 60;
/// The longest refusal, in seconds.
const REFUSED_SECONDS_MAX: u32 = 3_600;
/// How long a request that ended one replica is remembered: long enough for the client's own retries.
const REMEMBERED_US: i64 = 600_000_000;
/// Requests that are remembered for a deployment; beyond, the one that died longest ago goes.
const REMEMBERED_MAX: usize = 1_024;

/// A request's content in short; of one revision, so that a mended model is asked afresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of what a replica gets to see.
    pub fn of(revision_key: i64, kind: Kind, content_type: &str, body: &Bytes) -> Self {
        let mut hash = blake3::Hasher::new();
        hash.update(&revision_key.to_le_bytes());
        hash.update(&[match kind {
            Kind::Score => 0,
            Kind::Invocations => 1,
        }]);
        hash.update(&content_type.len().to_le_bytes());
        hash.update(content_type.as_bytes());
        hash.update(body);
        Self(hash.finalize().into())
    }
}

/// What may be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is known against it.
    Clear,
    /// It has ended a replica: it is sent once, and not tried again.
    Suspect,
    /// It has ended several.
    Refused {
        /// How many.
        replicas: u32,
        /// For how much longer.
        seconds: u32,
    },
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    deaths: u32,
    /// When the last replica went away.
    died_us: i64,
}

impl Suspect {
    fn refused_until_us(self) -> i64 {
        if self.deaths < DEATHS_MAX {
            return i64::MIN;
        }
        let doublings = (self.deaths - DEATHS_MAX).min(6);
        let seconds = (REFUSED_SECONDS << doublings).min(REFUSED_SECONDS_MAX);
        self.died_us.saturating_add(i64::from(seconds) * 1_000_000)
    }

    fn forgotten_us(self) -> i64 {
        self.refused_until_us().max(self.died_us).saturating_add(REMEMBERED_US)
    }
}

/// The requests of a deployment that ended replicas.
#[derive(Debug, Default)]
pub struct Guard {
    /// Whether there are any: a request costs a look at this when nothing has happened.
    is_alert: AtomicBool,
    suspects: Mutex<HashMap<Fingerprint, Suspect>>,
}

impl Guard {
    fn suspects(&self) -> MutexGuard<'_, HashMap<Fingerprint, Suspect>> {
        // The map is whole after every statement that changes it.
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What may be done with a request; its fingerprint is taken only when some request is suspected.
    pub fn judge(&self, fingerprint: impl FnOnce() -> Fingerprint, now_us: i64) -> Verdict {
        if !self.is_alert.load(Ordering::Acquire) {
            return Verdict::Clear;
        }
        let fingerprint = fingerprint();
        let mut suspects = self.suspects();
        suspects.retain(|_, suspect| suspect.forgotten_us() > now_us);
        self.is_alert.store(!suspects.is_empty(), Ordering::Release);
        let Some(suspect) = suspects.get(&fingerprint) else { return Verdict::Clear };
        let left_us = suspect.refused_until_us().saturating_sub(now_us);
        if left_us <= 0 {
            return Verdict::Suspect;
        }
        let seconds = u32::try_from(left_us.saturating_add(999_999) / 1_000_000).unwrap_or(u32::MAX);
        Verdict::Refused { replicas: suspect.deaths, seconds }
    }

    /// A replica went away while it had the request.
    pub fn died(&self, fingerprint: Fingerprint, now_us: i64) {
        let mut suspects = self.suspects();
        let suspect = suspects.entry(fingerprint).or_insert(Suspect { deaths: 0, died_us: now_us });
        suspect.deaths = suspect.deaths.saturating_add(1);
        suspect.died_us = now_us;
        if suspects.len() > REMEMBERED_MAX
            && let Some(oldest) = suspects.iter().min_by_key(|(_, suspect)| suspect.died_us).map(|(print, _)| *print)
        {
            suspects.remove(&oldest);
        }
        self.is_alert.store(true, Ordering::Release);
    }

    /// The request was answered: what died over it died of something else.
    pub fn answered(&self, fingerprint: impl FnOnce() -> Fingerprint) {
        if self.is_alert.load(Ordering::Acquire) {
            let fingerprint = fingerprint();
            let mut suspects = self.suspects();
            suspects.remove(&fingerprint);
            self.is_alert.store(!suspects.is_empty(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn print(body: &'static str) -> Fingerprint {
        Fingerprint::of(7, Kind::Score, "application/json", &Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn what_killed_twice_is_refused_for_longer_and_longer_and_cleared_by_an_answer() {
        // A poison request in a client's retry loop must not keep a whole deployment down.
        let guard = Guard::default();
        assert_eq!(guard.judge(|| panic!("nothing is suspected"), 0), Verdict::Clear);
        guard.died(print("a"), 0);
        assert_eq!(guard.judge(|| print("a"), SECOND), Verdict::Suspect);
        assert_eq!(guard.judge(|| print("b"), SECOND), Verdict::Clear);
        guard.died(print("a"), SECOND);
        assert_eq!(guard.judge(|| print("a"), 2 * SECOND), Verdict::Refused { replicas: 2, seconds: 59 });
        assert_eq!(guard.judge(|| print("a"), 61 * SECOND), Verdict::Suspect, "then it may be tried once");
        guard.died(print("a"), 61 * SECOND);
        assert_eq!(guard.judge(|| print("a"), 62 * SECOND), Verdict::Refused { replicas: 3, seconds: 119 });
        guard.answered(|| print("a"));
        assert_eq!(guard.judge(|| panic!("nothing is suspected any more"), 63 * SECOND), Verdict::Clear);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten() {
        let guard = Guard::default();
        for number in 0..3_000_u32 {
            let body = Bytes::copy_from_slice(&number.to_le_bytes());
            guard.died(Fingerprint::of(7, Kind::Score, "", &body), i64::from(number));
        }
        assert_eq!(guard.suspects().len(), REMEMBERED_MAX);
        assert_eq!(guard.judge(|| print("a"), 601 * SECOND), Verdict::Clear);
        assert_eq!(guard.suspects().len(), 0);
    }

    #[test]
    fn a_fingerprint_tells_contents_and_revisions_apart() {
        let body = Bytes::from_static(b"x");
        let base = Fingerprint::of(7, Kind::Score, "text/plain", &body);
        assert_eq!(base, Fingerprint::of(7, Kind::Score, "text/plain", &body));
        assert_ne!(base, Fingerprint::of(8, Kind::Score, "text/plain", &body));
        assert_ne!(base, Fingerprint::of(7, Kind::Invocations, "text/plain", &body));
        assert_ne!(base, Fingerprint::of(7, Kind::Score, "text/plai", &Bytes::from_static(b"nx")));
    }
}
