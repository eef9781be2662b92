//! How the recorded curves are stored in a snapshot: the points alone, since everything else follows from them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::curve::{Curve, End, Latest};
use crate::policy::{Goal, PolicySpec};
use crate::trials::Trials;

/// The stored form of [`Trials`].
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredTrials {
    policy: PolicySpec,
    goal: Goal,
    hinted: bool,
    curves: Vec<StoredCurve>,
}

#[derive(Serialize, Deserialize)]
struct StoredCurve {
    points: Vec<StoredPoint>,
    attempt: u32,
    decided: Vec<u64>,
    latest: Latest,
    ended: Option<End>,
    stopping: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused: Option<u32>,
    #[serde(default)]
    promoted: u32,
}

/// Step, position, attempt, value.
#[derive(Serialize, Deserialize)]
struct StoredPoint(i64, u64, u32, #[serde(with = "vocabulary::number")] f64);

impl From<Trials> for StoredTrials {
    fn from(trials: Trials) -> Self {
        let store = |curve: Curve| StoredCurve {
            points: curve
                .points
                .iter()
                .map(|point| StoredPoint(point.step, point.position, point.attempt, point.value))
                .collect(),
            attempt: curve.attempt,
            decided: curve.decided,
            latest: curve.latest,
            ended: curve.ended,
            stopping: curve.stopping,
            paused: curve.paused,
            promoted: curve.promoted,
        };
        Self {
            policy: trials.policy,
            goal: trials.goal,
            hinted: trials.hinted,
            curves: trials.curves.into_iter().map(Arc::unwrap_or_clone).map(store).collect(),
        }
    }
}

impl From<StoredTrials> for Trials {
    fn from(stored: StoredTrials) -> Self {
        let goal = stored.goal;
        let restore = |stored: StoredCurve| {
            let mut curve = Curve {
                attempt: stored.attempt,
                decided: stored.decided,
                latest: stored.latest,
                ended: stored.ended,
                stopping: stored.stopping,
                paused: stored.paused,
                promoted: stored.promoted,
                ..Curve::default()
            };
            for StoredPoint(step, position, attempt, value) in stored.points {
                curve.append(step, position, attempt, value, goal);
            }
            curve.recount(goal);
            curve
        };
        let mut trials = Self::new(stored.policy, goal);
        trials.hinted = stored.hinted;
        trials.curves = stored.curves.into_iter().map(restore).map(Arc::new).collect();
        trials.find_leader();
        trials.fill_rungs();
        trials
    }
}
