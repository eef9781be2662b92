//! Shows the trials of a sweep.

use contracts::sweeps as wire;
use contracts::{CallContext, status_of};
use strum::VariantNames;
use tonic::{Request, Response, Status};
use vocabulary::Problem;

use super::{Answer, to_wire};
use crate::service::Core;
use crate::sweep::TrialState;
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
        let (trials, more) = self
            .look(sweep_id, move |sweep, _| {
                let found = (0_u32..)
                    .zip(&sweep.trials)
                    .skip(from as usize)
                    .filter(|(_, trial)| state.is_none_or(|state| trial.state == state));
                let shown = found.map(|(index, trial)| to_wire::trial(sweep, index, trial, stops.get(&index).copied()));
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
        let sweep_id = self.find(&request.workspace, &request.sweep).await?;
        let index = request.index;
        let stop = views::stop_of(self.log.reader(), sweep_id, index).await.map_err(calls::unreadable)?;
        let found = self
            .look(sweep_id, move |sweep, _| {
                sweep.trials.get(index as usize).map(|trial| to_wire::trial(sweep, index, trial, stop))
            })
            .await?;
        found.map(Response::new).ok_or_else(|| absent(&request.sweep, index))
    }
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
        let names = TrialState::VARIANTS.join(", ");
        status_of(&Problem::invalid("/state", "BadState", format!("state '{state}': one of {names}")))
    })
}
