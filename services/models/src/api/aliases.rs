//! Points aliases and shows where they pointed.

use contracts::models as wire;
use contracts::{CallContext, status_of, with_made, with_position};
use prost::Message;
use tonic::{Request, Response, Status};
use vocabulary::{Problem, names};

use super::{Api, absent, stream};
use crate::model::{AliasChanged, Command, Model, ModelEvent};

fn shown(change: &AliasChanged) -> wire::Alias {
    wire::Alias {
        alias: change.alias.clone(),
        version: change.version,
        reason: change.reason.clone(),
        changed_by: change.by.clone(),
        changed_at: change.at.to_string(),
        previous_version: change.previous_version,
    }
}

/// What was done with an alias last.
fn latest(model: &Model, alias: &str) -> Option<wire::Alias> {
    model.history.iter().rfind(|change| change.alias == alias).map(shown)
}

/// Why an alias would be taken for a version, if so: `1`, `v1` and `latest` say already which one they mean.
fn hides_a_version(alias: &str) -> Option<String> {
    let number = alias.strip_prefix(['v', 'V']).unwrap_or(alias);
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number || alias.eq_ignore_ascii_case("latest"))
        .then(|| format!("alias '{alias}': it would be taken for a version; choose a word such as champion"))
}

impl Api {
    pub(super) async fn set_alias(
        &self,
        request: Request<wire::SetAliasRequest>,
    ) -> Result<Response<wire::Alias>, Status> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        if let Some(wrong) = names::title(&request.alias).or_else(|| hides_a_version(&request.alias)) {
            return Err(status_of(&Problem::invalid("/alias", "BadName", wrong)));
        }
        if request.version < 1 {
            let message = format!("version {} must be at least 1", request.version);
            return Err(status_of(&Problem::invalid("/version", "OutOfRange", message)));
        }
        self.point(call, request.workspace, request.model, request.alias, request.version, request.reason).await
    }

    pub(super) async fn remove_alias(
        &self,
        request: Request<wire::RemoveAliasRequest>,
    ) -> Result<Response<wire::Alias>, Status> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        self.point(call, request.workspace, request.model, request.alias, 0, request.reason).await
    }

    async fn point(
        &self,
        call: CallContext,
        workspace: String,
        model: String,
        alias: String,
        version: i64,
        reason: String,
    ) -> Result<Response<wire::Alias>, Status> {
        let stream = stream(&workspace, &model);
        let (by, at) = (call.actor.clone(), self.clock.now());
        let wish =
            AliasChanged { workspace, model, alias: alias.clone(), version, previous_version: 0, reason, by, at };
        let context = calls::context(&call, self.entropy.as_ref(), Vec::new());
        let command = Command::PointAlias(wish);
        let is_first = |changed: &AliasChanged| changed.previous_version == 0 && changed.version > 0;
        let is_new = move |event: &ModelEvent| matches!(event, ModelEvent::AliasChanged(changed) if is_first(changed));
        let (of_reply, name) = (alias.clone(), alias);
        let reply_of = move |model: &Model, events: &[ModelEvent]| {
            let latest = latest(model, &of_reply).unwrap_or_default();
            [&[u8::from(events.iter().any(is_new))], latest.encode_to_vec().as_slice()].concat()
        };
        let executed = self.log.execute_answering(&stream, command, context, reply_of);
        let committed = executed.await.map_err(calls::refused)?;
        let (alias, is_made) = match committed.reply.split_first() {
            Some((made @ (0 | 1), kept)) => (wire::Alias::decode(kept).map_err(calls::unreadable)?, *made == 1),
            // Earlier builds kept no more than whether it was made: then it is shown as it is now.
            _ => {
                let found = self.log.inspect::<Model, _>(&stream, move |model, _| latest(model, &name)).await;
                (found.map_err(calls::unreadable)?.unwrap_or_default(), committed.reply == calls::MADE)
            }
        };
        Ok(with_made(with_position(alias, committed.position), is_made))
    }

    pub(super) async fn list_alias_history(
        &self,
        request: Request<wire::ListAliasHistoryRequest>,
    ) -> Result<Response<wire::ListAliasHistoryReply>, Status> {
        calls::at_least(&self.log, &CallContext::of(&request)).await?;
        let wire::ListAliasHistoryRequest { workspace, model: name, page_size, page_token } = request.into_inner();
        let (size, token) = calls::page(page_size, &page_token)?;
        // The history only grows at its end: how many were before a change stays so.
        let before: usize = match token {
            None => usize::MAX,
            Some(token) => token.parse().map_err(|_| calls::bad_token(&token))?,
        };
        let stream = stream(&workspace, &name);
        let listed = self.log.inspect::<Model, _>(&stream, move |model, version| {
            let newest_first = model.history.iter().enumerate().take(before).rev();
            (version > 0)
                .then(|| calls::page_of(size, newest_first.map(|(at, change)| (at.to_string(), shown(change)))))
        });
        let listed = listed.await.map_err(calls::unreadable)?;
        let (changes, next_page_token) = listed.ok_or_else(|| absent(&workspace, &name))?;
        Ok(Response::new(wire::ListAliasHistoryReply { changes, next_page_token }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_that_looks_like_a_version_is_refused() {
        // Whoever deploys v1 means the first version, whatever somebody has called so.
        for bad in ["1", "007", "v1", "V12", "latest", "Latest"] {
            assert!(hides_a_version(bad).is_some(), "{bad}");
        }
        for good in ["champion", "v", "v1-candidate", "2026-winner", "vision"] {
            assert_eq!(hides_a_version(good), None, "{good}");
        }
    }
}
