//! What can happen to a sweep and its trials. One stream holds all of it, in the order in which it was decided.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tuning::bayes::{Explained, Fit};
use tuning::{Decision, Draw};
use vocabulary::{RunId, SweepId, Warning};

use super::TrialState;
use super::closing::Closing;
use super::exploit::Exploit;
use super::held::{PauseMode, TrialHeld, TrialReleased};
use super::inheritance::{ObservationsInherited, Parent, TrialsAdopted};
use super::job::TrialJob;
use super::lease::{ExternalTrial, Lease, TellDetails};
use super::model::ModelBasis;
use super::point::{NamedValue, Point};
use super::status::{CompletedReason, Outcome, SweepState};
use super::trial_end::{AttemptEnd, StopBy, TrialEnd};
use crate::document::{Limits, SweepSpec};

/// A sweep was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepSubmitted {
    /// Whose it is.
    pub workspace: String,
    /// Its id.
    pub sweep_id: SweepId,
    /// Its name; the id when none was given.
    pub name: String,
    /// What was asked for, with defaults filled in.
    pub spec: SweepSpec,
    /// The seed in force: the given one, or one drawn at submission.
    pub seed: u64,
    /// The document as it came.
    pub document: String,
    /// What was accepted but probably not meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Of a fork: from where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// By which rules its model suggests, to its end.
    #[serde(default = "first_rules")]
    pub tuner_version: u32,
    /// When.
    pub at: Timestamp,
}

/// Those of sweeps that did not record them.
fn first_rules() -> u32 {
    1
}

/// The first trial is about to be proposed; the timeout runs from here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepStarted {
    /// Whose it is.
    pub workspace: String,
    /// When.
    pub at: Timestamp,
}

/// What a proposal was made from beside the spec and the seed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// Of a model; the other samplers look at no observation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelBasis>,
    /// It was tried elsewhere: nothing here has made it, and nothing here ran it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// Of a child in population-based training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exploit: Option<Box<Exploit>>,
}

/// A configuration is to be tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialProposed {
    /// Whose it is.
    pub workspace: String,
    /// The order of proposal, from 0.
    pub trial: u32,
    /// The trial's run.
    pub run_id: RunId,
    /// The active parameters in written order, with the numbers behind them.
    pub draws: Vec<Draw>,
    /// The Sobol point or grid cell that was used; the proposal's number with `random`.
    pub sampler_index: u64,
    /// How often `random` drew again for a new configuration.
    pub redraw: u32,
    /// Which version of the samplers made it.
    pub sampler_version: u32,
    /// The observations that it depends on.
    #[serde(default)]
    pub basis: Basis,
    /// What the model said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explained: Option<Explained>,
    /// Everything that a node needs to run it; absent in an external sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<TrialJob>,
    /// Who runs it instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalTrial>,
    /// When.
    pub at: Timestamp,
}

/// A trial's run has moved on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialStateChanged {
    /// Which trial.
    pub trial: u32,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The state that it is in now.
    pub state: TrialState,
    /// Where it runs, if it does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// How the attempt ended, when the state says that it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<AttemptEnd>,
    /// When, by the clock of the service that saw it.
    pub at: Timestamp,
}

/// A trial reported values of the watched metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservationRecorded {
    /// Which trial.
    pub trial: u32,
    /// Which attempt.
    pub attempt: u32,
    /// In order of arrival.
    pub points: Vec<Point>,
    /// Values of the other watched metrics, with several objectives or constraints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<NamedValue>,
    /// The trial was being stopped: the points are kept and count for nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub after_stop: bool,
    /// Of an external trial: it was told by whoever runs it.
    #[serde(default, rename = "told", skip_serializing_if = "Option::is_none")]
    pub tell: Option<TellDetails>,
}

/// An external trial whose lease had run out was given to somebody else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialLeased {
    /// Which trial.
    pub trial: u32,
    /// The attempt that holds it from here on.
    pub attempt: u32,
    /// By whom and until when.
    pub lease: Lease,
    /// When.
    pub at: Timestamp,
}

/// Whoever holds an external trial is still at it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialLeaseRenewed {
    /// Which trial.
    pub trial: u32,
    /// The attempt that holds it.
    pub attempt: u32,
    /// Until when.
    pub expires_at: Timestamp,
}

/// A policy was asked and kept the trial. Recorded only where the document says so, since it can be computed again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecisionMade {
    /// Which trial.
    pub trial: u32,
    /// With its inputs; positions in it are versions of this stream.
    pub decision: Decision,
}

/// A trial is to end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialStopRequested {
    /// Whose it is.
    pub workspace: String,
    /// Which trial.
    pub trial: u32,
    /// Its run.
    pub run_id: RunId,
    /// Who or what wants it.
    pub by: StopBy,
    /// Of a policy: with its inputs; positions in it are versions of this stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// When.
    pub at: Timestamp,
}

/// A trial is to wait at a rung until it is promoted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialPaused {
    /// Whose it is.
    pub workspace: String,
    /// Which trial.
    pub trial: u32,
    /// Its run.
    pub run_id: RunId,
    /// The number of the rung, from 0.
    pub rung: u32,
    /// With its inputs; positions in it are versions of this stream.
    pub decision: Decision,
    /// When.
    pub at: Timestamp,
}

/// A trial goes on from the rung at which it waited, as a new attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialPromoted {
    /// Whose it is.
    pub workspace: String,
    /// Which trial.
    pub trial: u32,
    /// Its run.
    pub run_id: RunId,
    /// The number of the rung, from 0.
    pub rung: u32,
    /// The number of the attempt that goes on.
    pub attempt: u32,
    /// With its inputs; positions in it are versions of this stream.
    pub decision: Decision,
    /// When.
    pub at: Timestamp,
}

/// A trial has ended, and how it counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialEnded {
    /// Whose it is.
    pub workspace: String,
    /// Which trial.
    pub trial: u32,
    /// Its run.
    pub run_id: RunId,
    /// The attempt that ended it.
    pub attempt: u32,
    /// How.
    pub end: TrialEnd,
    /// How its last attempt ended.
    pub attempt_end: AttemptEnd,
    /// Its result: the best counted value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<f64>,
    /// Outputs that the document names and that were not uploaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_outputs: Vec<String>,
    /// When, by the clock of the service that saw it.
    pub at: Timestamp,
}

/// No new proposals; what runs goes on or is held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepPaused {
    /// Whose it is.
    pub workspace: String,
    /// What becomes of live trials.
    #[serde(default, skip_serializing_if = "PauseMode::is_drain")]
    pub mode: PauseMode,
    /// When.
    pub at: Timestamp,
}

/// Proposals again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepResumed {
    /// Whose it is.
    pub workspace: String,
    /// When.
    pub at: Timestamp,
}

/// The limits were raised, perhaps after the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepExtended {
    /// Whose it is.
    pub workspace: String,
    /// The limits in force from here on.
    pub limits: Limits,
    /// The state from here on: Running again after the end.
    pub state: SweepState,
    /// When.
    pub at: Timestamp,
}

/// The limits were changed on a live sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitsChanged {
    /// The limits in force from here on.
    pub limits: Limits,
    /// When.
    pub at: Timestamp,
}

/// The texts about the sweep were changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepDescribed {
    /// The description from here on.
    pub description: String,
    /// The tags from here on.
    pub tags: BTreeMap<String, String>,
    /// When.
    pub at: Timestamp,
}

/// The model of the sweep has new hyperparameters. They are in the log, because a fit starts from the one before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFitted {
    /// How many endings it saw: the first so many of the log.
    pub known: u32,
    /// The version of the fit that it started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<i64>,
    /// The hyperparameters.
    pub fit: Fit,
    /// When.
    pub at: Timestamp,
}

/// There will be no more proposals; the live trials have still to end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepCompleting {
    /// Whose it is.
    pub workspace: String,
    /// What it will be when they have.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
}

/// It is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepCompleted {
    /// Whose it is.
    pub workspace: String,
    /// Why there are no more trials.
    pub reason: CompletedReason,
    /// What came out.
    pub closing: Closing,
    /// When.
    pub at: Timestamp,
}

/// It cannot succeed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepFailed {
    /// Whose it is.
    pub workspace: String,
    /// The stable code.
    pub code: String,
    /// What was seen.
    pub detail: String,
    /// What came out all the same.
    pub closing: Closing,
    /// When.
    pub at: Timestamp,
}

/// Somebody wants it to end; the live trials have still to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepCanceling {
    /// Whose it is.
    pub workspace: String,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// It was ended by somebody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepCanceled {
    /// Whose it is.
    pub workspace: String,
    /// Who.
    pub by: String,
    /// What came out until then.
    pub closing: Closing,
    /// When.
    pub at: Timestamp,
}

/// Something looks wrong that stops nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepWarned {
    /// Whose it is.
    pub workspace: String,
    /// The stable code.
    pub code: String,
    /// What was seen, and what was perhaps meant.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// A trial loses its node again and again without getting anywhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepStalled {
    /// Whose it is.
    pub workspace: String,
    /// Which trial.
    pub trial: u32,
    /// What was seen.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// It is gone for all but its log and what lineage says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepDeleted {
    /// Whose it was.
    pub workspace: String,
    /// The runs of its trials go with it.
    pub runs: bool,
    /// When.
    pub at: Timestamp,
}

/// Its name is free again, and lists pass it over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepArchived {
    /// When.
    pub at: Timestamp,
}

/// It is listed again, under its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepUnarchived {
    /// The state in which it had ended.
    pub state: SweepState,
    /// When.
    pub at: Timestamp,
}

/// That trial has got somewhere, or has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepUnstalled {
    /// Which trial.
    pub trial: u32,
}

/// A trial is judged no more and has to end by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialFinishing {
    /// Whose it is.
    pub workspace: String,
    /// Which trial.
    pub trial: u32,
    /// What it has come to: `max_resource` or `target_reached`.
    pub by: StopBy,
    /// For how long it may run from here on.
    pub seconds: f64,
    /// When.
    pub at: Timestamp,
}

vocabulary::stored_events! {
    /// What can happen to a sweep and its trials.
    pub enum SweepEvent {
        SweepSubmitted: 1,
        SweepStarted: 1,
        TrialProposed: 1,
        TrialStateChanged: 1,
        TrialLeased: 1, TrialLeaseRenewed: 1,
        ObservationRecorded: 1,
        DecisionMade: 1,
        TrialFinishing: 1,
        TrialStopRequested: 1,
        TrialPaused: 1, TrialPromoted: 1,
        TrialHeld: 1,
        TrialReleased: 1,
        TrialEnded: 1,
        SweepPaused: 1, SweepResumed: 1,
        SweepExtended: 1, LimitsChanged: 1,
        SweepDescribed: 1,
        SweepCompleting: 1, SweepCompleted: 1,
        SweepFailed: 1,
        SweepCanceling: 1, SweepCanceled: 1,
        SweepWarned: 1,
        SweepStalled: 1, SweepUnstalled: 1,
        SweepArchived: 1, SweepUnarchived: 1, SweepDeleted: 1,
        ObservationsInherited: 1,
        TrialsAdopted: 1,
        ModelFitted: 1,
    }
}
