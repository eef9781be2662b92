//! Pauses, resumes, cancels, extends, changes, archives (and takes back) and deletes a sweep.

use std::sync::Arc;

use contracts::sweeps as wire;
use contracts::{CallContext, status_of, with_position};
use eventlog::{Committed, RecordError, Recorded};
use strum::VariantNames;
use tonic::{Request, Status};
use vocabulary::{Decider, Problem, SweepId};

use super::submit_sweep::{Name, format_of, take_name};
use super::{Answer, sources};
use crate::document::read_changes;
use crate::service::Core;
use crate::stream::stream_of;
use crate::sweep::{Changes, Command, PauseMode, Submitted, Sweep, SweepEvent};
use crate::views;

/// Events behind a submission that are looked at for what it inherits: a few for each of five sources.
const INHERITED_MAX: u32 = 1_000;

impl Core {
    pub(super) async fn pause_sweep(&self, request: Request<wire::PauseSweepRequest>) -> Answer<wire::Sweep> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        let mode = match request.mode.as_str() {
            "" => PauseMode::default(),
            given => given.parse().map_err(|_| {
                let message = format!("mode '{given}': {}", PauseMode::VARIANTS.join(" or "));
                status_of(&Problem::invalid("/mode", "BadPauseMode", message))
            })?,
        };
        let command = Command::Pause { mode, at: self.clock.now() };
        self.change(&call, &request.workspace, &request.sweep, command).await
    }

    pub(super) async fn resume_sweep(&self, request: Request<wire::ResumeSweepRequest>) -> Answer<wire::Sweep> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        let command = Command::Resume { at: self.clock.now() };
        self.change(&call, &request.workspace, &request.sweep, command).await
    }

    pub(super) async fn archive_sweep(&self, request: Request<wire::ArchiveSweepRequest>) -> Answer<wire::Sweep> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        let command = Command::Archive { at: self.clock.now() };
        self.change(&call, &request.workspace, &request.sweep, command).await
    }

    pub(super) async fn unarchive_sweep(&self, request: Request<wire::UnarchiveSweepRequest>) -> Answer<wire::Sweep> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        let sweep_id = self.find(&request.workspace, &request.sweep).await?;
        let context = calls::context(&call, self.entropy.as_ref(), Vec::new());
        let command = Arc::new(Command::Unarchive { at: self.clock.now() });
        let done = self
            .log
            .record::<Sweep, _>(&stream_of(sweep_id), Some(Arc::clone(&command)), context, move |sweep, tx| {
                let decided = sweep.decide(&command);
                let holder = sweep.submitted.as_ref().map(name_of);
                Box::pin(async move {
                    let events = decided.map_err(RecordError::Rejected)?;
                    if let Some(holder) = holder.filter(|_| !events.is_empty()) {
                        take_name(tx, &holder).await?;
                    }
                    Ok(Recorded { events, reply: Vec::new() })
                })
            })
            .await;
        let committed = done.map_err(calls::refused)?;
        Ok(with_position(self.show(sweep_id).await?, committed.position))
    }

    pub(super) async fn delete_sweep(&self, request: Request<wire::DeleteSweepRequest>) -> Answer<wire::Sweep> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        let sweep_id = self.find_any(&request.workspace, &request.sweep).await?;
        let mut used_by = request.used_by;
        used_by.extend(self.built_on(sweep_id).await?);
        let command = Arc::new(Command::Delete { runs: request.runs, used_by, at: self.clock.now() });
        let context = calls::context(&call, self.entropy.as_ref(), Vec::new());
        let done = self
            .log
            .record::<Sweep, _>(&stream_of(sweep_id), Some(Arc::clone(&command)), context, move |sweep, tx| {
                let decided = sweep.decide(&command);
                Box::pin(async move {
                    let events = decided.map_err(RecordError::Rejected)?;
                    if !events.is_empty() {
                        sources::delete(tx, sweep_id).await?;
                    }
                    Ok(Recorded { events, reply: Vec::new() })
                })
            })
            .await;
        Ok(with_position(self.show(sweep_id).await?, done.map_err(calls::refused)?.position))
    }

    /// Sweeps that have not ended and began with what this one has.
    async fn built_on(&self, source: SweepId) -> Result<Vec<String>, Status> {
        let mut found = Vec::new();
        for id in views::active(self.log.reader()).await.map_err(calls::unreadable)? {
            // What a sweep inherits stands right behind its submission.
            let events = self.log.read_stream(&stream_of(id), 1, INHERITED_MAX).await.map_err(calls::unreadable)?;
            for event in events {
                let from = match event.decode::<SweepEvent>().map_err(calls::unreadable)? {
                    SweepEvent::ObservationsInherited(inherited) => inherited.source,
                    SweepEvent::TrialsAdopted(adopted) => adopted.source,
                    _ => break,
                };
                if from == source {
                    found.push(format!("sweep {id}, which has not ended"));
                    break;
                }
            }
        }
        Ok(found)
    }

    pub(super) async fn cancel_sweep(
        &self,
        request: Request<wire::CancelSweepRequest>,
    ) -> Answer<wire::CancelSweepReply> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        let by = if call.actor.is_empty() { "user".to_owned() } else { call.actor.clone() };
        let command = Command::Cancel { by, at: self.clock.now() };
        let (sweep_id, committed) = self.execute(&call, &request.workspace, &request.sweep, command).await?;
        let sweep = Some(self.show(sweep_id).await?);
        // The first time it leads to events; a repeat of the request is told so again.
        let accepted = committed.events > 0;
        Ok(with_position(wire::CancelSweepReply { sweep, accepted }, committed.position))
    }

    pub(super) async fn extend_sweep(&self, request: Request<wire::ExtendSweepRequest>) -> Answer<wire::Sweep> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        let most = self.most_trials(&request.workspace, &request.sweep).await?;
        if let Some(total) = request.max_total_trials.filter(|total| !(1..=most).contains(total)) {
            let message = format!("max_total_trials {total} must be in 1..={most}");
            return Err(status_of(&Problem::invalid("/max_total_trials", "OutOfRange", message)));
        }
        if let Some(timeout) = request.timeout_seconds.filter(|timeout| !(timeout.is_finite() && *timeout > 0.0)) {
            let message = format!("timeout_seconds {timeout} must be > 0 and finite");
            return Err(status_of(&Problem::invalid("/timeout_seconds", "BadTimeout", message)));
        }
        let command = Command::Extend {
            max_total_trials: request.max_total_trials,
            timeout_seconds: request.timeout_seconds,
            at: self.clock.now(),
        };
        self.change(&call, &request.workspace, &request.sweep, command).await
    }

    pub(super) async fn update_sweep(&self, request: Request<wire::UpdateSweepRequest>) -> Answer<wire::Sweep> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        let sweep_id = self.find(&request.workspace, &request.sweep).await?;
        let current = self
            .look(sweep_id, |sweep, _| {
                sweep.submitted.as_ref().map(|submitted| {
                    let mut spec = (*submitted.spec).clone();
                    spec.limits.clone_from(&submitted.limits);
                    spec
                })
            })
            .await?;
        let Some(current) = current else {
            return Err(status_of(&Problem::not_found("sweep", &request.sweep, &request.workspace)));
        };
        let format = format_of(&request.format)?;
        let (limits, document) = (self.limits, request.document);
        let read =
            runtime::reading::body(document.len(), move || read_changes(&document, format, &limits, &current)).await;
        let (changes, _) = read.flatten().map_err(|problem| status_of(&problem))?;
        let changes = Changes { limits: changes.limits, description: changes.description, tags: changes.tags };
        let command = Command::Change { changes, at: self.clock.now() };
        self.change(&call, &request.workspace, &request.sweep, command).await
    }

    /// How many trials the sweep may have at most.
    async fn most_trials(&self, workspace: &str, sweep: &str) -> Result<u32, Status> {
        let sweep_id = self.find(workspace, sweep).await?;
        let mode = self.look(sweep_id, |sweep, _| sweep.submitted.as_ref().map(|known| known.spec.mode)).await?;
        Ok(self.limits.of(mode.unwrap_or_default()).max_total_trials)
    }

    async fn change(&self, call: &CallContext, workspace: &str, sweep: &str, command: Command) -> Answer<wire::Sweep> {
        let (sweep_id, committed) = self.execute(call, workspace, sweep, command).await?;
        Ok(with_position(self.show(sweep_id).await?, committed.position))
    }

    async fn execute(
        &self,
        call: &CallContext,
        workspace: &str,
        sweep: &str,
        command: Command,
    ) -> Result<(SweepId, Committed), Status> {
        let sweep_id = self.find(workspace, sweep).await?;
        let context = calls::context(call, self.entropy.as_ref(), Vec::new());
        let done = self.log.execute::<Sweep>(&stream_of(sweep_id), command, context).await;
        Ok((sweep_id, done.map_err(calls::refused)?))
    }
}

/// The name that a sweep was submitted under.
fn name_of(submitted: &Submitted) -> Name {
    let (workspace, name) = (submitted.workspace.clone(), submitted.spec.name.clone());
    Name { workspace, name, sweep_id: submitted.sweep_id }
}
