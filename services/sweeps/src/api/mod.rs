//! The calls of the service.

mod ask_tell;
mod change_sweep;
mod document_json;
mod explain_trial;
mod fork_sweep;
mod get_sweep;
mod import_sweep;
mod importance;
mod list_sweeps;
mod submit_sweep;
mod to_wire;
mod trials;
mod warm_start;
mod what_if;

#[cfg(test)]
mod tests;

use contracts::status_of;
use contracts::sweeps as wire;
use contracts::sweeps::sweeps_service_server::SweepsService;
use tonic::{Request, Response, Status};
use vocabulary::{Problem, SweepId};

use crate::service::Core;
use crate::stream::stream_of;
use crate::sweep::Sweep;
use crate::views;

type Answer<T> = Result<Response<T>, Status>;

impl Core {
    /// The sweep that an id or a name of a workspace means.
    async fn find(&self, workspace: &str, sweep: &str) -> Result<SweepId, Status> {
        let absent = || status_of(&Problem::not_found("sweep", sweep, workspace));
        if let Ok(id) = SweepId::parse(sweep) {
            let owner = self.look(id, |sweep, _| sweep.submitted.as_ref().map(|known| known.workspace.clone())).await?;
            return if owner.as_deref() == Some(workspace) { Ok(id) } else { Err(absent()) };
        }
        let found = views::by_name(self.log.reader(), workspace, sweep).await.map_err(calls::unreadable)?;
        found.ok_or_else(absent)
    }

    /// Looks at a sweep in memory.
    async fn look<R: Send + 'static>(
        &self,
        sweep_id: SweepId,
        look: impl FnOnce(&Sweep, i64) -> R + Send + 'static,
    ) -> Result<R, Status> {
        self.log.inspect::<Sweep, R>(&stream_of(sweep_id), look).await.map_err(calls::unreadable)
    }
}

#[tonic::async_trait]
impl SweepsService for Core {
    async fn submit_sweep(&self, request: Request<wire::SubmitSweepRequest>) -> Answer<wire::SubmitSweepReply> {
        self.submit(request).await
    }
    async fn import_sweep(&self, request: Request<wire::ImportSweepRequest>) -> Answer<wire::SubmitSweepReply> {
        self.import(request).await
    }
    async fn fork_sweep(&self, request: Request<wire::ForkSweepRequest>) -> Answer<wire::SubmitSweepReply> {
        self.fork(request).await
    }
    async fn get_sweep(&self, request: Request<wire::GetSweepRequest>) -> Answer<wire::Sweep> {
        self.get(request).await
    }
    async fn list_sweeps(&self, request: Request<wire::ListSweepsRequest>) -> Answer<wire::ListSweepsReply> {
        self.list(request).await
    }
    async fn update_sweep(&self, request: Request<wire::UpdateSweepRequest>) -> Answer<wire::Sweep> {
        self.update(request).await
    }
    async fn pause_sweep(&self, request: Request<wire::PauseSweepRequest>) -> Answer<wire::Sweep> {
        self.pause(request).await
    }
    async fn resume_sweep(&self, request: Request<wire::ResumeSweepRequest>) -> Answer<wire::Sweep> {
        self.resume(request).await
    }
    async fn cancel_sweep(&self, request: Request<wire::CancelSweepRequest>) -> Answer<wire::CancelSweepReply> {
        self.cancel(request).await
    }
    async fn extend_sweep(&self, request: Request<wire::ExtendSweepRequest>) -> Answer<wire::Sweep> {
        self.extend(request).await
    }
    async fn list_trials(&self, request: Request<wire::ListTrialsRequest>) -> Answer<wire::ListTrialsReply> {
        self.trials(request).await
    }
    async fn get_trial(&self, request: Request<wire::GetTrialRequest>) -> Answer<wire::Trial> {
        self.trial(request).await
    }
    async fn explain_trial(&self, request: Request<wire::ExplainTrialRequest>) -> Answer<wire::Explanation> {
        self.explain(request).await
    }
    async fn parameter_importance(
        &self,
        request: Request<wire::ParameterImportanceRequest>,
    ) -> Answer<wire::ParameterImportanceReply> {
        self.importance(request).await
    }
    async fn ask_trials(&self, request: Request<wire::AskTrialsRequest>) -> Answer<wire::AskTrialsReply> {
        self.ask(request).await
    }
    async fn tell_trial(&self, request: Request<wire::TellTrialRequest>) -> Answer<wire::TellTrialReply> {
        self.tell(request).await
    }
    async fn heartbeat_trial(
        &self,
        request: Request<wire::HeartbeatTrialRequest>,
    ) -> Answer<wire::HeartbeatTrialReply> {
        self.heartbeat(request).await
    }
    async fn what_if(&self, request: Request<wire::WhatIfRequest>) -> Answer<wire::WhatIfReply> {
        self.replay_policies(request).await
    }
    async fn verify_sweep(&self, request: Request<wire::VerifySweepRequest>) -> Answer<wire::Verification> {
        self.verify(request).await
    }
}
