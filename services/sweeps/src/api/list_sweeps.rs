//! Lists a workspace's sweeps, the newest first.

use contracts::sweeps as wire;
use contracts::{CallContext, status_of};
use documents::ArchivedView;
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
        let view = ArchivedView::read(&request.view).map_err(|problem| status_of(&problem))?;
        let wanted = (view, request.state.as_str());
        let rows = views::listed(self.log.reader(), &request.workspace, wanted, before, size + 1)
            .await
            .map_err(calls::unreadable)?;
        let is_full = rows.len() > usize::try_from(size).unwrap_or_default();
        let (mut sweeps, mut last) = (calls::Page::of(size), before);
        for row in rows {
            let (ended, position) = (row.state.parse().is_ok_and(SweepState::is_terminal), row.position);
            // An open sweep is in memory; folding an ended one again only to list it would be a waste. In which state
            // an archived one has ended is not in its row.
            let live = if ended { None } else { self.look(row.sweep_id, to_wire::sweep).await? };
            let shown = live.unwrap_or_else(|| to_wire::listed(row, &request.workspace));
            let is_wanted = request.state.is_empty() || shown.state == request.state || shown.archived_at.is_empty();
            if is_wanted && !sweeps.push(shown) {
                break;
            }
            last = position;
        }
        let (sweeps, more) = sweeps.finish();
        let next_page_token = if more || is_full { last.to_string() } else { String::new() };
        Ok(Response::new(wire::ListSweepsReply { sweeps, next_page_token }))
    }
}
