//! Shows the trials of a sweep.

use std::collections::BTreeMap;

use contracts::sweeps as wire;
use contracts::{CallContext, status_of};
use strum::VariantNames;
use tonic::{Request, Response, Status};
use tuning::Decision;
use vocabulary::Problem;

use super::{Answer, to_wire};
use crate::service::Core;
use crate::sweep::{Sweep, SweepEvent, TrialState};
use crate::views;

impl Core {
    pub(super) async fn list_trials(&self, request: Request<wire::ListTrialsRequest>) -> Answer<wire::ListTrialsReply> {
        calls::at_least(&self.log, &CallContext::of(&request)).await?;
        let request = request.into_inner();
        let (size, token) = calls::page(request.page_size, &request.page_token)?;
        let from = match token {
            None => 0_u32,
            Some(token) => token.parse().map_err(|_| {
                let message = format!("page_token '{token}': send back the next_page_token of the page before");
                status_of(&Problem::invalid("/page_token", "BadPageToken", message))
            })?,
        };
        let state = wanted_state(&request.state)?;
        let sweep_id = self.find(&request.workspace, &request.sweep).await?;
        let stops = views::stops_from(self.log.reader(), sweep_id, from, size).await.map_err(calls::unreadable)?;
        let decisions = self.decisions(stops.values().copied()).await?;
        let (trials, more) = self
            .look(sweep_id, move |sweep, _| {
                let found = (0_u32..)
                    .zip(&sweep.trials)
                    .skip(from as usize)
                    .filter(|(index, trial)| state.is_none_or(|state| sweep.shown_state(*index, trial) == state));
                let shown = found.map(|(index, trial)| {
                    let stop = stops.get(&index).copied();
                    let decision = stop.and_then(|position| decisions.get(&position));
                    with_stop(sweep, to_wire::trial(sweep, index, trial, stop), decision)
                });
                calls::Page::fill(size, shown)
            })
            .await?;
        // The token is where the next page begins.
        let last: Option<&wire::Trial> = trials.last().filter(|_| more);
        let next_page_token = last.map(|last| (last.index + 1).to_string()).unwrap_or_default();
        Ok(Response::new(wire::ListTrialsReply { trials, next_page_token }))
    }

    pub(super) async fn get_trial(&self, request: Request<wire::GetTrialRequest>) -> Answer<wire::Trial> {
        calls::at_least(&self.log, &CallContext::of(&request)).await?;
        let request = request.into_inner();
        let sweep_id = match request.deleted {
            true => self.find_past(&request.workspace, &request.sweep, request.index).await?,
            false => self.find(&request.workspace, &request.sweep).await?,
        };
        let index = request.index;
        let stop = views::stop_of(self.log.reader(), sweep_id, index).await.map_err(calls::unreadable)?;
        let decisions = self.decisions(stop).await?;
        let found = self
            .look(sweep_id, move |sweep, _| {
                let trial = sweep.trials.get(index as usize)?;
                Some(with_stop(sweep, to_wire::trial(sweep, index, trial, stop), decisions.values().next()))
            })
            .await?;
        found.map(Response::new).ok_or_else(|| absent(&request.sweep, index))
    }

    /// The decisions of stops, by the positions that these are at.
    async fn decisions(&self, stops: impl IntoIterator<Item = i64>) -> Result<BTreeMap<i64, Decision>, Status> {
        let mut found = BTreeMap::new();
        for position in stops {
            let events = self.log.read(position - 1, 1).await.map_err(calls::unreadable)?;
            let decoded = events.first().filter(|event| event.kind == STOP).map(|event| event.decode());
            if let Some(SweepEvent::TrialStopRequested(stop)) = decoded.transpose().map_err(calls::unreadable)? {
                found.extend(stop.decision.map(|decision| (position, decision)));
            }
        }
        Ok(found)
    }
}

/// The event that has a policy's decision.
const STOP: &str = "TrialStopRequested";

/// A stop that came too late for a trial says nothing of its end.
fn with_stop(sweep: &Sweep, trial: wire::Trial, decision: Option<&Decision>) -> wire::Trial {
    let stop =
        decision.filter(|_| !trial.decision.is_empty()).and_then(|decision| to_wire::policy_stop(sweep, decision));
    wire::Trial { stop, ..trial }
}

/// 404 for a trial.
pub(super) fn absent(sweep: &str, index: u32) -> Status {
    status_of(&Problem::new(404, "NotFound", format!("trial {index} of sweep '{sweep}'")))
}

fn wanted_state(state: &str) -> Result<Option<TrialState>, Status> {
    if state.is_empty() {
        return Ok(None);
    }
    state.parse().map(Some).map_err(|_| {
        let message = documents::not_one_of("state", state, TrialState::VARIANTS);
        status_of(&Problem::invalid("/state", "BadState", message))
    })
}
