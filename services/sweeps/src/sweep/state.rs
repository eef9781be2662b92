//! The state of a sweep.
//!
//! ```text
//! Queued -> Running <-> Paused        any of the three -> Canceling -> Canceled
//!           Running, Paused -> Completing -> Completed, Failed        Completed -> Running by extend
//! ```

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use tuning::bayes::Fit;
use tuning::{Report, Reported, Trials, fingerprint};
use vocabulary::{SweepId, Warning};

use super::TrialState;
use super::closing::Best;
use super::events::{
    ObservationRecorded, SweepEvent, SweepExtended, SweepSubmitted, TrialEnded, TrialLeased, TrialPaused,
    TrialPromoted, TrialProposed, TrialStateChanged, TrialStopRequested,
};
use super::exploit::Vacancy;
use super::inheritance::{Inheritance, Parent};
use super::job::parameters_json;
use super::model::Ended;
use super::status::{Status, SweepState};
use super::trial::{Stop, Trial, non_finite};
use crate::document::{Limits, SweepSpec};

/// What was submitted, with the changes since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submitted {
    /// Whose it is.
    pub workspace: String,
    /// Its id.
    pub sweep_id: SweepId,
    /// Its name.
    pub name: String,
    /// What was asked for.
    pub spec: Arc<SweepSpec>,
    /// The limits in force.
    pub limits: Limits,
    /// The description in force.
    pub description: String,
    /// The tags in force.
    pub tags: BTreeMap<String, String>,
    /// The seed in force.
    pub seed: u64,
    /// Of the submission, and those since.
    pub warnings: Vec<Warning>,
    /// Of a fork: from where.
    pub parent: Option<Parent>,
    /// By which rules its model suggests.
    pub tuner_version: u32,
    /// When it was submitted.
    pub at: Timestamp,
}

/// The number of the state's written form. Whoever changes the form, or what events make of the state, raises it and
/// commits the snapshot of the new number beside the old ones: a test holds the bytes of each number fast, and fails
/// when that was forgotten.
pub(super) const SCHEMA: i16 = 7;

/// A sweep as it stands; `submitted` is `None` before the first event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// The version of the stream that this is the state at. It is what positions inside decisions count.
    pub version: i64,
    /// What was asked for.
    pub submitted: Option<Submitted>,
    /// Where it is in its life.
    pub status: Status,
    /// By index.
    pub trials: Vec<Trial>,
    /// Indices of the trials that have not ended.
    pub live: BTreeSet<u32>,
    /// Indices of the trials that wait at a rung.
    pub paused: BTreeSet<u32>,
    /// Indices of the live trials that are judged no more and have to end by themselves.
    pub finishing: BTreeSet<u32>,
    /// Indices of the live trials that are held while the sweep is paused.
    pub held: BTreeSet<u32>,
    /// How many trials are in each state.
    pub counts: BTreeMap<TrialState, u32>,
    /// What the policy and the ranking see.
    pub curves: Trials,
    /// Of the external trials that have not ended: when each one's lease runs out, in microseconds since 1970, the
    /// earliest first.
    pub leases: BTreeSet<(i64, u32)>,
    /// Digests of the configurations that were proposed. Shared, so that a proposal is computed beside the log.
    #[serde(serialize_with = "in_order")]
    pub taken: Arc<HashSet<u128>>,
    /// Of a modelled sweep: the trials that have ended and what that says, in log order.
    pub endings: Vec<Ended>,
    /// Of a modelled sweep: the hyperparameters in force, with the version of their event.
    pub fit: Option<(i64, Fit)>,
    /// The first Sobol point or grid cell that is not used.
    pub next_index: u64,
    /// Of population-based training: places that children are to take, in the order in which they came free.
    pub vacancies: Vec<Vacancy>,
    /// How many trials came from the sampler.
    pub initial_members: u32,
    /// What it has from earlier sweeps.
    pub inheritance: Arc<Inheritance>,
    /// When the first trial was proposed.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When it was archived.
    pub archived_at: Option<Timestamp>,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
    /// Whether its runs were deleted with it.
    pub deleted_with_runs: bool,
    /// How often a trial lost its node.
    pub preemptions: u32,
    /// Trials that got nowhere for their preemptions, with what was seen.
    pub stalled: BTreeMap<u32, String>,
    /// Trials that completed without a finite value.
    pub without_value: u32,
    /// The watched metric has been reported by some trial.
    pub reported: bool,
    pub(super) completed: u32,
    pub(super) failed_in_a_row: u32,
    /// Of the first failure in the row.
    pub(super) first_stderr_tail: String,
    pub(super) unreported_in_a_row: u32,
    /// Trials that ended since the leader got better.
    pub(super) unimproved_in_a_row: u32,
    /// The leader's value when each of the last trials ended, as many as the patience of convergence and one more.
    pub(super) leads: VecDeque<f64>,
    /// The trial that ended last was held.
    pub(super) ended_while_held: bool,
    /// The leader's value when a trial ended last; with constraints of the feasible trials that have ended.
    pub(super) last_lead: Option<f64>,
}

/// One state has one written form: sets have no order of their own.
fn in_order<S: Serializer>(set: &HashSet<u128>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut members: Vec<_> = set.iter().collect();
    members.sort_unstable();
    serializer.collect_seq(members)
}

impl Sweep {
    /// How many trials were proposed.
    pub fn proposals(&self) -> u32 {
        u32::try_from(self.trials.len()).unwrap_or(u32::MAX)
    }

    /// The best trial so far.
    pub fn best(&self) -> Option<Best> {
        let best = self.winner()?;
        let trial = self.trials.get(best.trial as usize)?;
        let parameters = parameters_json(&trial.draws);
        let (missing_outputs, unkept) = (trial.missing_outputs.clone(), trial.unkept().to_owned());
        Some(Best { trial: best.trial, run_id: trial.run_id, value: best.value, parameters, missing_outputs, unkept })
    }

    pub(super) fn take(&mut self, event: &SweepEvent) {
        self.version += 1;
        match event {
            SweepEvent::SweepSubmitted(event) => self.take_submission(event),
            SweepEvent::SweepStarted(event) => {
                self.status = Status::Running;
                self.started_at = Some(event.at);
            }
            SweepEvent::TrialProposed(event) => self.take_proposal(event),
            SweepEvent::ObservationsInherited(event) => self.take_inherited(event),
            SweepEvent::TrialsAdopted(event) => self.take_adopted(event),
            SweepEvent::TrialStateChanged(event) => self.take_move(event),
            SweepEvent::TrialLeased(event) => self.take_lease(event),
            SweepEvent::TrialLeaseRenewed(event) => self.renew(event.trial, event.expires_at),
            SweepEvent::ObservationRecorded(event) => self.take_observation(event),
            SweepEvent::DecisionMade(_) => {}
            SweepEvent::TrialFinishing(event) => self.take_finishing(event),
            SweepEvent::TrialStopRequested(event) => self.take_stop(event),
            SweepEvent::TrialPaused(event) => self.take_pause(event),
            SweepEvent::TrialPromoted(event) => self.take_promotion(event),
            SweepEvent::TrialHeld(event) => drop(self.held.insert(event.trial)),
            SweepEvent::TrialReleased(event) => drop(self.held.remove(&event.trial)),
            SweepEvent::TrialEnded(event) => self.take_end(event),
            SweepEvent::SweepPaused(_) => self.status = Status::Paused,
            SweepEvent::SweepResumed(_) => self.status = Status::Running,
            SweepEvent::SweepExtended(event) => self.take_extension(event),
            SweepEvent::LimitsChanged(event) => self.change(|submitted| submitted.limits = event.limits.clone()),
            SweepEvent::SweepDescribed(event) => self.change(|submitted| {
                submitted.description.clone_from(&event.description);
                submitted.tags.clone_from(&event.tags);
            }),
            SweepEvent::SweepCompleting(event) => self.status = Status::Completing(event.outcome.clone()),
            SweepEvent::SweepCompleted(event) => self.finish(Status::Completed(event.reason), event.at),
            SweepEvent::SweepFailed(event) => {
                self.finish(Status::Failed(event.code.clone(), event.detail.clone()), event.at);
            }
            SweepEvent::SweepCanceling(event) => self.status = Status::Canceling(event.by.clone()),
            SweepEvent::SweepCanceled(event) => self.finish(Status::Canceled(event.by.clone()), event.at),
            SweepEvent::SweepWarned(event) => {
                let (code, message) = (event.code.clone(), event.message.clone());
                let warning = Warning { code, pointer: String::new(), message };
                self.change(|submitted| submitted.warnings.push(warning));
            }
            SweepEvent::SweepStalled(event) => {
                self.stalled.insert(event.trial, event.reason.clone());
            }
            SweepEvent::ModelFitted(event) => self.fit = Some((self.version, event.fit.clone())),
            SweepEvent::SweepArchived(event) => self.archived_at = Some(event.at),
            SweepEvent::SweepUnarchived(_) => self.archived_at = None,
            SweepEvent::SweepDeleted(event) => {
                self.deleted_at.get_or_insert(event.at);
                self.deleted_with_runs |= event.runs;
            }
            SweepEvent::SweepUnstalled(event) => {
                self.stalled.remove(&event.trial);
            }
        }
    }

    fn take_submission(&mut self, event: &SweepSubmitted) {
        self.curves = Trials::new(event.spec.policy.clone(), event.spec.objective.goal);
        self.submitted = Some(Submitted {
            workspace: event.workspace.clone(),
            sweep_id: event.sweep_id,
            name: event.name.clone(),
            spec: Arc::new(event.spec.clone()),
            limits: event.spec.limits.clone(),
            description: event.spec.description.clone(),
            tags: event.spec.tags.clone(),
            seed: event.seed,
            warnings: event.warnings.clone(),
            parent: event.parent.clone(),
            tuner_version: event.tuner_version,
            at: event.at,
        });
    }

    fn take_proposal(&mut self, event: &TrialProposed) {
        let configuration = event.draws.iter().map(|draw| (draw.name.clone(), draw.value.clone())).collect();
        Arc::make_mut(&mut self.taken).insert(fingerprint(&configuration));
        self.take_member(event);
        // A trial that goes on with an earlier one used no point of the sampler.
        if self.inheritance.resumed(u64::from(event.trial)).is_none() && event.basis.exploit.is_none() {
            self.next_index = self.next_index.max(event.sampler_index.saturating_add(1));
        }
        self.live.insert(event.trial);
        let trial = Trial::new(event, self.version);
        let state = trial.state;
        self.trials.push(trial);
        self.change_lease(event.trial, |_| {});
        self.count(None, state);
    }

    /// Changes a trial's lease and keeps the order of the leases in step. A trial that has ended has none.
    fn change_lease(&mut self, index: u32, change: impl FnOnce(&mut Trial)) {
        let Some(trial) = self.trials.get_mut(index as usize) else { return };
        let due = |trial: &Trial| Some((trial.lease.as_ref()?.expires_at.as_microsecond(), index));
        let before = due(trial);
        change(trial);
        let after = due(trial);
        if let Some(before) = before {
            self.leases.remove(&before);
        }
        self.leases.extend(after);
    }

    fn take_lease(&mut self, event: &TrialLeased) {
        let Some(before) = self.trials.get(event.trial as usize).map(|trial| trial.state) else { return };
        self.change_lease(event.trial, |trial| trial.lease_again(event));
        self.count(Some(before), TrialState::Running);
    }

    fn renew(&mut self, index: u32, expires_at: Timestamp) {
        self.change_lease(index, |trial| {
            if let Some(lease) = trial.lease.as_mut() {
                lease.expires_at = expires_at;
            }
        });
    }

    fn take_move(&mut self, event: &TrialStateChanged) {
        let Some(trial) = self.trials.get_mut(event.trial as usize) else { return };
        let before = trial.state;
        trial.move_on(event);
        if event.state == TrialState::Preempted {
            self.preemptions = self.preemptions.saturating_add(1);
        }
        self.count(Some(before), event.state);
    }

    fn take_observation(&mut self, event: &ObservationRecorded) {
        // Other watched metrics are no sign of the primary one.
        let primary = !event.points.is_empty();
        self.reported |= primary;
        if let Some(tell) = &event.tell {
            self.renew(event.trial, tell.lease_expires_at);
        }
        let position = self.version.unsigned_abs();
        let Some(trial) = self.trials.get_mut(event.trial as usize) else { return };
        trial.reported |= primary;
        trial.preemptions_in_a_row = 0;
        if event.after_stop {
            return;
        }
        if let Some(submitted) = &self.submitted {
            trial.take_values(&submitted.spec, event);
        }
        trial.non_finite = trial.non_finite.saturating_add(non_finite(&event.points));
        trial.last_value = event.points.last().map(|point| point.value).or(trial.last_value);
        for point in &event.points {
            let (trial, attempt) = (event.trial, event.attempt);
            let report = Report { trial, attempt, step: point.step, value: point.value, position };
            if let Reported::Counted { interval, .. } = self.curves.report(&report) {
                self.note_rung(trial, interval);
            }
        }
    }

    fn take_stop(&mut self, event: &TrialStopRequested) {
        let hinted = event.decision.as_ref().is_some_and(|decision| decision.hint.is_some());
        self.curves.stop(event.trial, hinted);
        self.take_vacancy(event);
        if let Some(trial) = self.trials.get_mut(event.trial as usize) {
            trial.stop = Some(Stop { by: event.by, version: self.version });
        }
        self.finishing.remove(&event.trial);
        self.held.remove(&event.trial);
        // One that waited has still to end, as those that run have.
        if self.paused.remove(&event.trial) {
            self.live.insert(event.trial);
        }
    }

    fn take_pause(&mut self, event: &TrialPaused) {
        self.curves.pause(event.trial, event.rung);
        self.held.remove(&event.trial);
        self.live.remove(&event.trial);
        self.paused.insert(event.trial);
        let Some(before) = self.trials.get(event.trial as usize).map(|trial| trial.state) else { return };
        self.change_lease(event.trial, |trial| trial.pause(event));
        self.count(Some(before), TrialState::Paused);
    }

    fn take_promotion(&mut self, event: &TrialPromoted) {
        self.curves.promote(event.trial);
        self.paused.remove(&event.trial);
        self.live.insert(event.trial);
        let Some(trial) = self.trials.get_mut(event.trial as usize) else { return };
        let before = trial.state;
        trial.promote(event);
        self.count(Some(before), TrialState::Queued);
    }

    fn take_end(&mut self, event: &TrialEnded) {
        let lead = self.lead_at_end(event.trial);
        self.unimproved_in_a_row = self.unimproved(lead);
        self.remember_lead(lead);
        self.last_lead = lead;
        self.curves.end(event.trial, event.end.for_policies());
        self.live.remove(&event.trial);
        self.finishing.remove(&event.trial);
        self.ended_while_held = self.held.remove(&event.trial);
        self.paused.remove(&event.trial);
        let Some(trial) = self.trials.get(event.trial as usize) else { return };
        if self.is_modelled()
            && trial.end.is_none()
            && let Some(submitted) = &self.submitted
        {
            let result = (event.best, self.curves.interval(event.trial));
            let ended = Ended::of(&submitted.spec, event.trial, &event.end, result, &trial.values);
            self.endings.push(ended);
        }
        let (before, reported, follows) = (trial.state, trial.reported, trial.follows());
        let mut state = before;
        self.change_lease(event.trial, |trial| {
            trial.finish(event);
            state = trial.state;
        });
        if state == TrialState::Failed {
            if self.failed_in_a_row == 0 {
                self.first_stderr_tail.clone_from(&event.attempt_end.stderr_tail);
            }
            self.failed_in_a_row += 1;
        } else {
            self.failed_in_a_row = 0;
        }
        if reported {
            self.unreported_in_a_row = 0;
        } else if state == TrialState::Completed && !follows {
            self.unreported_in_a_row += 1;
        }
        self.completed += u32::from(state == TrialState::Completed);
        self.without_value += u32::from(event.end.lacks_value());
        self.count(Some(before), state);
    }

    fn take_extension(&mut self, event: &SweepExtended) {
        self.change(|submitted| submitted.limits = event.limits.clone());
        if self.status.state().is_terminal() && event.state == SweepState::Running {
            self.status = Status::Running;
            self.ended_at = None;
        }
    }

    fn finish(&mut self, status: Status, at: Timestamp) {
        self.status = status;
        self.ended_at = Some(at);
        self.stalled.clear();
    }

    fn change(&mut self, change: impl FnOnce(&mut Submitted)) {
        if let Some(submitted) = self.submitted.as_mut() {
            change(submitted);
        }
    }

    pub(super) fn count(&mut self, from: Option<TrialState>, to: TrialState) {
        if let Some(from) = from
            && let Some(count) = self.counts.get_mut(&from)
        {
            *count = count.saturating_sub(1);
        }
        *self.counts.entry(to).or_default() += 1;
    }
}
