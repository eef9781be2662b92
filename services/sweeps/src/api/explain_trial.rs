//! Says why a trial is what it is, and whether a sweep's log can be recomputed.

use contracts::CallContext;
use contracts::sweeps as wire;
use tonic::{Request, Response};

use super::Answer;
use super::to_wire::run_text;
use super::trials::absent;
use crate::audit::{audit, explanation, verification};
use crate::service::Core;

impl Core {
    pub(super) async fn explain_trial(&self, request: Request<wire::ExplainTrialRequest>) -> Answer<wire::Explanation> {
        calls::at_least(&self.log, &CallContext::of(&request)).await?;
        let request = request.into_inner();
        let sweep_id = self.find_even(&request.workspace, &request.sweep, request.deleted).await?;
        let audit = audit(&self.log, sweep_id, Some(request.index)).await.map_err(calls::unreadable)?;
        let explained = explanation(&audit, request.index);
        let run = audit.sweep.trials.get(request.index as usize).map(|trial| run_text(trial.run_id));
        let (Some(explained), Some(run_id)) = (explained, run) else {
            return Err(absent(&request.sweep, request.index));
        };
        Ok(Response::new(wire::Explanation { explanation_json: explained.to_string(), run_id }))
    }

    pub(super) async fn verify_sweep(&self, request: Request<wire::VerifySweepRequest>) -> Answer<wire::Verification> {
        calls::at_least(&self.log, &CallContext::of(&request)).await?;
        let request = request.into_inner();
        let sweep_id = self.find(&request.workspace, &request.sweep).await?;
        let audit = audit(&self.log, sweep_id, None).await.map_err(calls::unreadable)?;
        let difference_count = u32::try_from(audit.differences.len()).unwrap_or(u32::MAX);
        let verification_json = verification(&audit).to_string();
        Ok(Response::new(wire::Verification { verification_json, difference_count }))
    }
}
