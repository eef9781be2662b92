//! Leases: who holds an external trial, and until when. A lease that has run out changes nothing by itself; the trial
//! is offered again at the next ask, and only then its old attempt is over.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tuning::Goal;
use vocabulary::RunId;

/// Who holds a trial, and until when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// As it calls itself; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub worker: String,
    /// How long a lease lasts from the last sign of life.
    pub seconds: f64,
    /// When it runs out.
    pub expires_at: Timestamp,
}

impl Lease {
    /// A lease from now on.
    pub fn new(worker: &str, seconds: f64, at: Timestamp) -> Self {
        Self { worker: worker.to_owned(), seconds, expires_at: expiry(at, seconds) }
    }

    /// When it runs out if it is renewed now. A sign of life never shortens a lease.
    pub fn renewed(&self, at: Timestamp) -> Timestamp {
        expiry(at, self.seconds).max(self.expires_at)
    }
}

/// How long after a start of the server whoever holds a lease from before may take to call: as long as its lease, but
/// not longer than this.
const GRACE_SECONDS: f64 = 30.0;

impl Lease {
    /// Whether its holder has been silent for too long, who could be heard since `listening_since` only.
    pub fn is_over(&self, at: Timestamp, listening_since: Timestamp) -> bool {
        let from_before = self.expires_at < expiry(listening_since, self.seconds);
        let excused =
            if from_before { expiry(listening_since, self.seconds.min(GRACE_SECONDS)) } else { Timestamp::MIN };
        self.expires_at.max(excused) <= at
    }
}

/// So many seconds from now; what is longer than time lasts is as long as it.
fn expiry(at: Timestamp, seconds: f64) -> Timestamp {
    let span = SignedDuration::try_from_secs_f64(seconds).unwrap_or(SignedDuration::MAX);
    at.checked_add(span).unwrap_or(Timestamp::MAX)
}

/// What an external trial has in the place of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExternalTrial {
    /// The experiment of its run.
    pub experiment: String,
    /// The name of its run.
    pub run_name: String,
    /// Who holds it first.
    pub lease: Lease,
    /// What it is about; absent in what older versions wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Box<ExternalObjective>>,
}

/// The metric that an external trial is about, for its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalObjective {
    /// The key.
    pub metric: String,
    /// Whether larger or smaller is better.
    pub goal: Goal,
}

/// What a told report says beside its point: enough to make a fact of it alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TellDetails {
    /// Whose trial it is.
    pub workspace: String,
    /// Its run.
    pub run_id: RunId,
    /// The watched metric.
    pub metric: String,
    /// It was the last value, which no policy is asked about: the trial has completed with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
    /// The lease is renewed until then.
    pub lease_expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_from_before_the_start_has_a_grace() {
        // Nobody could renew it while the server was away; but a holder that is gone must not keep its trial for ever.
        let at = |seconds: i64| Timestamp::from_second(1_700_000_000 + seconds).unwrap();
        let lease = Lease::new("w", 60.0, at(0));
        assert!(!lease.is_over(at(59), Timestamp::MIN) && lease.is_over(at(60), Timestamp::MIN));
        assert!(!lease.is_over(at(3600), at(3600)), "the server has just come back");
        assert!(!lease.is_over(at(3629), at(3600)) && lease.is_over(at(3630), at(3600)));
        let short = Lease::new("w", 5.0, at(0));
        assert!(!short.is_over(at(3604), at(3600)) && short.is_over(at(3605), at(3600)));
        let later = Lease::new("w", 5.0, at(3601));
        assert!(later.is_over(at(3606), at(3600)), "one that was given after the start lasts as long as it says");
    }
}
