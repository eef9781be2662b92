//! Replays other policies on a sweep's recorded curves.

use contracts::sweeps as wire;
use contracts::{CallContext, status_of};
use serde_json::json;
use tonic::{Request, Response};
use vocabulary::Problem;

use super::Answer;
use super::submit_sweep::format_of;
use crate::document::read_what_if;
use crate::service::Core;
use crate::what_if::recorded;

impl Core {
    pub(super) async fn what_if(&self, request: Request<wire::WhatIfRequest>) -> Answer<wire::WhatIfReply> {
        calls::at_least(&self.log, &CallContext::of(&request)).await?;
        let request = request.into_inner();
        let format = format_of(&request.format)?;
        let document = request.document;
        let read = runtime::reading::body(document.len(), move || read_what_if(&document, format)).await;
        let question = read.flatten().map_err(|problem| status_of(&problem))?;
        let sweep_id = self.find(&request.workspace, &request.sweep).await?;
        let recorded = recorded(&self.log, sweep_id).await.map_err(calls::unreadable)?;
        if recorded.sweep.submitted.as_ref().is_some_and(|submitted| submitted.spec.has_several()) {
            let message = "the sweep has several objectives, and a policy compares trials by one metric";
            return Err(status_of(&Problem::new(422, "SeveralObjectives", message)));
        }
        let goal = recorded.sweep.curves.goal();
        let curves = recorded.curves();
        let trials = curves.len();
        // Many policies on many curves take a while, which must not hold up the runtime.
        let (policies, clock) = (question.policies, question.clock);
        let replayed = runtime::background::run(move || tuning::what_if(&policies, goal, &curves, clock)).await;
        let replayed = replayed
            .map_err(|error| status_of(&Problem::internal(format!("the replay of the policies broke: {error}"))))?;
        let shown = json!({
            "sweep_id": sweep_id,
            "goal": goal.to_string(),
            "trials": trials,
            "clock": clock,
            "policies": replayed,
        });
        Ok(Response::new(wire::WhatIfReply { what_if_json: shown.to_string() }))
    }
}
