//! External mode: trials are asked for, told about and held. Each call is one append; the sweep is not looked at
//! before, since the decider knows everything that a call can be refused for.

use contracts::sweeps as wire;
use contracts::{CallContext, status_of, with_position};
use eventlog::{Committed, Context, ExecuteError};
use prost::Message;
use tonic::{Request, Status};
use vocabulary::{FieldError, Problem, RunId, SweepId};

use super::Answer;
use crate::service::Core;
use crate::stream::decision_id;
use crate::stream::stream_of;
use crate::sweep::{
    Ask, Command, Heartbeat, Rejection, Sweep, SweepEvent, SweepState, Tell, TellContent, offer_state, parameters_json,
};

/// Trials of one ask: their events are one append, which others wait for.
const ASK_COUNT_MAX: u32 = 1_000;
/// How long whoever asks may be silent when it says nothing about it.
const LEASE_SECONDS_DEFAULT: f64 = 60.0;
/// A day: a worker that is gone must not hold its trial for longer.
const LEASE_SECONDS_MAX: f64 = 86_400.0;
/// Characters of a worker's name.
const WORKER_LENGTH_MAX: usize = 255;
/// Bytes of a reason: the end of a traceback, not a log.
const REASON_BYTES_MAX: usize = 4_096;
/// What is wrong with a reason beside a value.
const REASON_WITH_VALUE: &str = "reason: goes with state failed; leave it out with a value";

impl Core {
    pub(super) async fn ask_trials(&self, request: Request<wire::AskTrialsRequest>) -> Answer<wire::AskTrialsReply> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        let (count, lease_seconds) = read_ask(&request).map_err(|problem| status_of(&problem))?;
        let sweep_id = self.meant(&request.workspace, &request.sweep).await?;
        let ask = Ask {
            workspace: request.workspace.clone(),
            worker: request.worker,
            lease_seconds,
            run_ids: (0..count).map(|_| RunId::new(self.entropy.uuid())).collect(),
            suggested: Vec::new(),
            exhausted: None,
            listening_since: self.clock.listening_since(),
            at: self.clock.now(),
        };
        let context = calls::context(&call, self.entropy.as_ref(), Vec::new());
        let asked = self.asked(sweep_id, ask, context).await;
        let committed = asked.map_err(|error| refused(error, &request.workspace, &request.sweep))?;
        let reply = wire::AskTrialsReply::decode(committed.reply.as_slice()).map_err(calls::unreadable)?;
        Ok(with_position(reply, committed.position))
    }

    /// What a model proposes comes from the model; all else is decided at once.
    async fn asked(&self, sweep_id: SweepId, ask: Ask, context: Context) -> Result<Committed, ExecuteError<Rejection>> {
        let reply_of = |sweep: &Sweep, events: &[SweepEvent]| offers(sweep, events).encode_to_vec();
        if !self.tuners.has(sweep_id) {
            let command = Command::Ask(ask.clone());
            let stream = stream_of(sweep_id);
            let asked = self.log.execute_answering::<Sweep>(&stream, command, context.clone(), reply_of).await;
            if !matches!(asked, Err(ExecuteError::Rejected(Rejection::NeedsSuggestion))) {
                return asked;
            }
        }
        self.tuners.ask(sweep_id, ask, context, reply_of).await
    }

    pub(super) async fn tell_trial(&self, request: Request<wire::TellTrialRequest>) -> Answer<wire::TellTrialReply> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        let content = read_content(&request).map_err(|problem| status_of(&problem))?;
        let sweep_id = self.meant(&request.workspace, &request.sweep).await?;
        let tell = Tell {
            workspace: request.workspace.clone(),
            trial: request.index,
            attempt: request.attempt,
            content,
            at: self.clock.now(),
        };
        let asked = tell.clone();
        let context = calls::context(&call, self.entropy.as_ref(), Vec::new());
        let committed = self
            .log
            .execute_answering::<Sweep>(&stream_of(sweep_id), Command::Tell(tell), context, move |sweep, events| {
                verdict(sweep, &asked, events).encode_to_vec()
            })
            .await;
        let committed = committed.map_err(|error| refused(error, &request.workspace, &request.sweep))?;
        self.tuners.nudge(sweep_id);
        let mut reply = wire::TellTrialReply::decode(committed.reply.as_slice()).map_err(calls::unreadable)?;
        if !reply.decision.is_empty() {
            reply.decision = stop_id(sweep_id, &committed);
        }
        Ok(with_position(reply, committed.position))
    }

    pub(super) async fn heartbeat_trial(
        &self,
        request: Request<wire::HeartbeatTrialRequest>,
    ) -> Answer<wire::HeartbeatTrialReply> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        check_attempt(request.attempt).map_err(|problem| status_of(&problem))?;
        let sweep_id = self.meant(&request.workspace, &request.sweep).await?;
        let heartbeat = Heartbeat {
            workspace: request.workspace.clone(),
            trial: request.index,
            attempt: request.attempt,
            at: self.clock.now(),
        };
        let context = calls::context(&call, self.entropy.as_ref(), Vec::new());
        let done = self
            .log
            .execute_answering::<Sweep>(&stream_of(sweep_id), Command::Heartbeat(heartbeat), context, |_, events| {
                let renewed = events.iter().find_map(|event| match event {
                    SweepEvent::TrialLeaseRenewed(renewed) => Some(renewed.expires_at.to_string()),
                    _ => None,
                });
                wire::HeartbeatTrialReply { lease_expires_at: renewed.unwrap_or_default() }.encode_to_vec()
            })
            .await;
        let committed = done.map_err(|error| refused(error, &request.workspace, &request.sweep))?;
        let reply = wire::HeartbeatTrialReply::decode(committed.reply.as_slice()).map_err(calls::unreadable)?;
        Ok(with_position(reply, committed.position))
    }

    /// The sweep that is meant. Whether an id is one of this workspace's is left to the decider.
    async fn meant(&self, workspace: &str, sweep: &str) -> Result<SweepId, Status> {
        match SweepId::parse(sweep) {
            Ok(sweep_id) => Ok(sweep_id),
            Err(_) => self.find(workspace, sweep).await,
        }
    }
}

fn refused(error: ExecuteError<Rejection>, workspace: &str, sweep: &str) -> Status {
    match error {
        ExecuteError::Rejected(Rejection::Absent) => status_of(&Problem::not_found("sweep", sweep, workspace)),
        other => calls::refused(other),
    }
}

/// The trials that an ask has led to, or why there are none.
fn offers(sweep: &Sweep, events: &[SweepEvent]) -> wire::AskTrialsReply {
    let offered = |index: u32| {
        let trial = sweep.trials.get(index as usize)?;
        Some(wire::OfferedTrial {
            index,
            attempt: trial.attempt(),
            parameters_json: parameters_json(&trial.draws),
            lease_expires_at: trial.lease.as_ref()?.expires_at.to_string(),
            basis_lag: trial.basis.model.as_ref().map_or(0, |basis| sweep.lag(basis)),
            resume: sweep.curves.promotions(index) > 0,
            donor: trial.basis.exploit.as_ref().filter(|_| trial.attempt() == 1).map(|exploit| exploit.donor),
        })
    };
    let indices = events.iter().filter_map(|event| match event {
        SweepEvent::TrialProposed(proposed) => Some(proposed.trial),
        SweepEvent::TrialLeased(leased) => Some(leased.trial),
        _ => None,
    });
    let trials: Vec<wire::OfferedTrial> = indices.filter_map(offered).collect();
    let running = !trials.is_empty() && sweep.status.state() == SweepState::Running;
    let state = if running { "running" } else { offer_state(sweep) };
    wire::AskTrialsReply { trials, state: state.to_owned() }
}

/// Whether the trial is over for whoever runs it although it said nothing of an end, and whether what was told counts.
fn verdict(sweep: &Sweep, tell: &Tell, events: &[SweepEvent]) -> wire::TellTrialReply {
    let trial = tell.trial;
    let by_policy = events.iter().any(|event| match event {
        SweepEvent::TrialStopRequested(stop) => stop.trial == trial,
        SweepEvent::TrialPaused(paused) => paused.trial == trial,
        _ => false,
    });
    // It failed for its value, or went on beyond the last interval.
    let fails = |event: &SweepEvent| {
        matches!(event, SweepEvent::TrialEnded(ended)
            if ended.trial == trial
                && (ended.attempt_end.reason == "non_finite" || ended.attempt_end.outcome == "canceled"))
    };
    // The id is made of the position, which is known after the commit.
    let decision = if by_policy { STOPPED.to_owned() } else { String::new() };
    let not_counted = sweep.why_not_counted(tell, events).unwrap_or_default().to_owned();
    wire::TellTrialReply { stop: by_policy || events.iter().any(fails), decision, not_counted }
}

/// Stands for the id of the decision in a stored reply.
const STOPPED: &str = "@";

/// The stop is the second event of its append.
fn stop_id(sweep_id: SweepId, committed: &Committed) -> String {
    let events = i64::try_from(committed.events).unwrap_or(i64::MAX);
    decision_id(sweep_id, committed.position - events + 2)
}

fn read_ask(request: &wire::AskTrialsRequest) -> Result<(u32, f64), Problem> {
    let mut errors = Vec::new();
    let count = request.count.unwrap_or(1);
    if !(1..=ASK_COUNT_MAX).contains(&count) {
        let message = format!("count {count} must be in 1..={ASK_COUNT_MAX}");
        errors.push(FieldError::new("/count", "OutOfRange", message));
    }
    let lease = request.lease_seconds.unwrap_or(LEASE_SECONDS_DEFAULT);
    // Written so that NaN is refused too.
    let good = lease > 0.0 && lease <= LEASE_SECONDS_MAX;
    if !good {
        let message = format!("lease_seconds {lease} must be > 0 and <= {LEASE_SECONDS_MAX}; a heartbeat renews it");
        errors.push(FieldError::new("/lease_seconds", "OutOfRange", message));
    }
    let length = request.worker.chars().count();
    if length > WORKER_LENGTH_MAX || request.worker.chars().any(char::is_control) {
        let message =
            format!("worker: {length} characters; at most {WORKER_LENGTH_MAX}, none of them a control character");
        errors.push(FieldError::new("/worker", "BadName", message));
    }
    if errors.is_empty() { Ok((count, lease)) } else { Err(Problem::of_errors(422, errors)) }
}

fn check_attempt(attempt: u32) -> Result<(), Problem> {
    if attempt == 0 {
        return Err(Problem::invalid("/attempt", "Required", "attempt: required; send the one of the ask's answer"));
    }
    Ok(())
}

fn read_content(request: &wire::TellTrialRequest) -> Result<TellContent, Problem> {
    let mut errors = Vec::new();
    if let Err(problem) = check_attempt(request.attempt) {
        errors.extend(problem.errors);
    }
    let content = match (request.state.as_str(), request.value) {
        ("", value) if !request.values.is_empty() => {
            if value.is_some() {
                let message = "values: has the value of the primary metric too; leave value out";
                errors.push(FieldError::new("/value", "ExactlyOne", message));
            }
            if !request.reason.is_empty() {
                errors.push(FieldError::new("/reason", "ExactlyOne", REASON_WITH_VALUE));
            }
            TellContent::Values { step: request.step, values: request.values.clone(), last: request.r#final }
        }
        ("", Some(value)) => {
            if !request.reason.is_empty() {
                errors.push(FieldError::new("/reason", "ExactlyOne", REASON_WITH_VALUE));
            }
            TellContent::Value { step: request.step, value, last: request.r#final }
        }
        ("", None) => {
            let message = "value: required, or values by metric; a number, \"NaN\", \"Infinity\" or \"-Infinity\", or \
                           send state failed";
            errors.push(FieldError::new("/value", "Required", message));
            TellContent::Failed { reason: String::new() }
        }
        ("failed", value) => {
            let extra = [
                ("value", value.is_some()),
                ("values", !request.values.is_empty()),
                ("step", request.step.is_some()),
                ("final", request.r#final),
            ];
            for (name, _) in extra.iter().filter(|(_, given)| *given) {
                let message = format!("{name}: leave it out with state failed; tell values before");
                errors.push(FieldError::new(format!("/{name}"), "ExactlyOne", message));
            }
            let bytes = request.reason.len();
            if bytes > REASON_BYTES_MAX {
                let message = format!("reason has {bytes} bytes, limit {REASON_BYTES_MAX}; send its end");
                errors.push(FieldError::new("/reason", "TooLarge", message));
            }
            TellContent::Failed { reason: request.reason.clone() }
        }
        (other, _) => {
            let message = format!("state '{other}': only failed can be told; a value with final true completes");
            errors.push(FieldError::new("/state", "BadState", message));
            TellContent::Failed { reason: String::new() }
        }
    };
    errors.sort_by(|a, b| a.pointer.cmp(&b.pointer));
    if errors.is_empty() { Ok(content) } else { Err(Problem::of_errors(422, errors)) }
}
