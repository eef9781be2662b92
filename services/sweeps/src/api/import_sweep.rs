//! Takes a table of trials that have ended elsewhere as a sweep that is over.

use std::sync::Arc;

use contracts::CallContext;
use contracts::sweeps as wire;
use eventlog::{RecordError, Recorded};
use prost::Message;
use tonic::Request;
use vocabulary::{Decider, SweepId};

use super::Answer;
use super::submit_sweep::{Name, answer, format_of, refuse, reply_of, take_name};
use crate::document::read_import;
use crate::service::Core;
use crate::stream::stream_of;
use crate::sweep::{Command, Sweep, SweepState, SweepSubmitted};
use crate::views;

impl Core {
    pub(super) async fn import_sweep(
        &self,
        request: Request<wire::ImportSweepRequest>,
    ) -> Answer<wire::SubmitSweepReply> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        let format = format_of(&request.format)?;
        let limits = self.limits;
        let table = request.document;
        let read = runtime::reading::body(table.len(), move || read_import(&table, format, &limits));
        let (spec, trials, warnings) = read.await.flatten().map_err(refuse)?;
        let before = match call.command_id {
            Some(command) => views::by_command(self.log.reader(), command).await.map_err(calls::unreadable)?,
            None => None,
        };
        let sweep_id = before.unwrap_or_else(|| SweepId::new(self.entropy.uuid()));
        let submitted = SweepSubmitted {
            workspace: request.workspace,
            sweep_id,
            name: spec.name.clone().unwrap_or_else(|| sweep_id.to_string()),
            seed: self.entropy.seed(),
            spec,
            // The table is in the events of the trials, and would be a third of the log again.
            document: String::new(),
            warnings,
            parent: None,
            tuner_version: tuning::TUNER_VERSION,
            at: self.clock.now(),
        };
        let context = calls::context(&call, self.entropy.as_ref(), Vec::new());
        let named = Arc::new(submitted.clone());
        let command = Arc::new(Command::Import { submitted: Box::new(submitted), trials });
        let done = self
            .log
            .record::<Sweep, _>(&stream_of(sweep_id), Some(Arc::clone(&command)), context, move |state, tx| {
                let decided = state.decide(&command);
                let submitted = Arc::clone(&named);
                Box::pin(async move {
                    let events = decided.map_err(RecordError::Rejected)?;
                    take_name(tx, &Name::of(&submitted)).await?;
                    let reply = reply_of(&submitted, SweepState::Completed).encode_to_vec();
                    Ok(Recorded { events, reply })
                })
            })
            .await;
        answer(done)
    }
}
