//! Shows jobs.

use contracts::compute as wire;
use contracts::{CallContext, status_of};
use tonic::{Request, Response, Status};
use vocabulary::job::{JobEnd, Outcome};
use vocabulary::{JobId, Problem};

use super::Api;
use crate::time::shown;
use crate::views::{self, JobRow, PlacementRow};

/// What a job may be listed by.
const STATES: [&str; 7] = ["queued", "placed", "starting", "preparing", "running", "finalizing", "ended"];

impl Api {
    fn shown(&self, row: JobRow, placements: Vec<wire::Placement>) -> wire::Job {
        let end = row.end();
        let (reason, node_trouble) = match (&end, JobId::parse(&row.job_id)) {
            (Some(end), _) => (ended(end), String::new()),
            (None, Ok(job)) => {
                let fleet = self.fleet.lock();
                (fleet.explain(job), fleet.node_trouble(job))
            }
            (None, Err(_)) => Default::default(),
        };
        wire::Job {
            job_id: row.job_id,
            run_id: row.run_id,
            cluster: row.cluster,
            state: row.state,
            attempt: row.attempt,
            node_id: row.node_id,
            reason,
            end: end.map(Into::into),
            queued_at: shown(row.queued_at),
            workspace: row.workspace,
            placements,
            node_trouble,
        }
    }

    pub(super) async fn get_job(&self, request: Request<wire::GetJobRequest>) -> Result<Response<wire::Job>, Status> {
        self.at_least(&request).await?;
        let wire::GetJobRequest { workspace, id } = request.into_inner();
        let reader = self.commands.log.reader();
        let row = views::job_by_id(reader, &id).await.map_err(calls::unreadable)?;
        let row = row.filter(|row| row.workspace == workspace);
        let row = row.ok_or_else(|| status_of(&Problem::not_found("job", &id, &workspace)))?;
        let placements = views::placements_of(reader, &row.job_id).await.map_err(calls::unreadable)?;
        Ok(Response::new(self.shown(row, placements.into_iter().map(placement).collect())))
    }

    pub(super) async fn list_jobs(
        &self,
        request: Request<wire::ListJobsRequest>,
    ) -> Result<Response<wire::ListJobsReply>, Status> {
        calls::at_least(&self.commands.log, &CallContext::of(&request)).await?;
        let request = request.into_inner();
        let (size, after) = calls::page(request.page_size, &request.page_token)?;
        let invalid = |pointer: &str, message: String| status_of(&Problem::invalid(pointer, "OutOfRange", message));
        let after = match after {
            None => 0,
            Some(text) => text
                .parse::<i64>()
                .map_err(|_| invalid("/page_token", format!("page_token '{text}' is not one that a list gave")))?,
        };
        if !request.state.is_empty() && !STATES.contains(&request.state.as_str()) {
            return Err(invalid("/state", documents::not_one_of("state", &request.state, &STATES)));
        }
        let reader = self.commands.log.reader();
        let wire::ListJobsRequest { workspace, cluster, state, .. } = request;
        let (mut page, mut last) = (calls::Page::of(size), after);
        let take = |row: views::JobRow| {
            let position = row.position;
            let is_taken = page.push(self.shown(row, Vec::new()));
            last = if is_taken { position } else { last };
            is_taken
        };
        let listed = views::each_job(reader, views::JobsOf { workspace, cluster, state }, after, size + 1, take).await;
        listed.map_err(calls::unreadable)?;
        let (jobs, more) = page.finish();
        let next_page_token = if more { last.to_string() } else { String::new() };
        Ok(Response::new(wire::ListJobsReply { jobs, next_page_token }))
    }
}

fn placement(row: PlacementRow) -> wire::Placement {
    let PlacementRow { position, attempt, node_id, reason, placed_us } = row;
    wire::Placement { position, attempt, node_id, reason, placed_at: shown(placed_us) }
}

/// How it ended, in words.
fn ended(end: &JobEnd) -> String {
    match end.outcome {
        Outcome::Failed => {
            let code = end.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
            let signal = end.signal.map(|signal| format!(", signal {signal}")).unwrap_or_default();
            let phase = end.phase.map(|phase| phase.to_string()).unwrap_or_default();
            format!("failed in phase {phase} ({}{code}{signal})", end.reason)
        }
        Outcome::Canceled => {
            let by = end.by.map(|by| by.to_string()).unwrap_or_default();
            let decision = if end.decision.is_empty() { String::new() } else { format!(" ({})", end.decision) };
            format!("canceled by {by}{decision}")
        }
        other => other.to_string(),
    }
}
