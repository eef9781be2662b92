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
            let names = SweepState::VARIANTS.join(", ");
            let message = format!("state '{}': one of {names}", request.state);
            return Err(status_of(&Problem::invalid("/state", "BadState", message)));
        }
        let before = match token {
            None => i64::MAX,
            Some(token) => token.parse().map_err(|_| {
                let message = format!("page_token '{token}': send back the next_page_token of the page before");
                status_of(&Problem::invalid("/page_token", "BadPageToken", message))
            })?,
        };
        let rows = views::listed(self.log.reader(), &request.workspace, &request.state, before, size)
            .await
            .map_err(calls::unreadable)?;
        let full = rows.len() == usize::try_from(size).unwrap_or_default();
        let next_page_token = rows.last().filter(|_| full).map_or_else(String::new, |row| row.position.to_string());
        let mut sweeps = Vec::with_capacity(rows.len());
        for row in rows {
            let ended = row.state.parse().is_ok_and(SweepState::is_terminal);
            // An open sweep is in memory; folding an ended one again only to list it would be a waste.
            let live = if ended { None } else { self.look(row.sweep_id, to_wire::sweep).await? };
            sweeps.push(live.unwrap_or_else(|| to_wire::listed(row, &request.workspace)));
        }
        Ok(Response::new(wire::ListSweepsReply { sweeps, next_page_token }))
    }
}
