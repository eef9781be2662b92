//! Lists a workspace's sweeps, the newest first.

use contracts::sweeps as wire;
use contracts::{CallContext, status_of};
use strum::VariantNames;
use tonic::{Request, Response};
use vocabulary::Problem;

use super::{Answer, to_wire};
use crate::service::Core;
use crate::sweep::SweepState;
use crate::views;

impl Core {
    pub(super) async fn list_sweeps(&self, request: Request<wire::ListSweepsRequest>) -> Answer<wire::ListSweepsReply> {
        calls::at_least(&self.log, &CallContext::of(&request)).await?;
        let request = request.into_inner();
        let (size, token) = calls::page(request.page_size, &request.page_token)?;
        if !request.state.is_empty() && request.state.parse::<SweepState>().is_err() {
            let message = documents::not_one_of("state", &request.state, SweepState::VARIANTS);
            return Err(status_of(&Problem::invalid("/state", "BadState", message)));
        }
        let before = match token {
            None => i64::MAX,
            Some(token) => token.parse().map_err(|_| {
                let message = format!("page_token '{token}': send back the next_page_token of the page before");
                status_of(&Problem::invalid("/page_token", "BadPageToken", message))
            })?,
        };
        let rows = views::listed(self.log.reader(), &request.workspace, &request.state, before, size + 1)
            .await
            .map_err(calls::unreadable)?;
        let positions: Vec<i64> = rows.iter().map(|row| row.position).collect();
        let mut sweeps = calls::Page::of(size);
        for row in rows {
            let ended = row.state.parse().is_ok_and(SweepState::is_terminal);
            // An open sweep is in memory; folding an ended one again only to list it would be a waste.
            let live = if ended { None } else { self.look(row.sweep_id, to_wire::sweep).await? };
            if !sweeps.push(live.unwrap_or_else(|| to_wire::listed(row, &request.workspace))) {
                break;
            }
        }
        let (sweeps, more) = sweeps.finish();
        let last = positions[..sweeps.len()].last().filter(|_| more);
        let next_page_token = last.map(i64::to_string).unwrap_or_default();
        Ok(Response::new(wire::ListSweepsReply { sweeps, next_page_token }))
    }
}
