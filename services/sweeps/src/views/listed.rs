//! The list of sweeps. An open sweep is in memory anyway, so its row has only what finds it; an ended one has its
//! result too.

use std::collections::BTreeMap;

use documents::ArchivedView;
use eventlog::{BoxFuture, Error, Reader, RecordedEvent, Transaction, View, ViewTable, sql};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vocabulary::{SweepId, Warning};

use crate::sweep::{Closing, SweepEvent, SweepState, SweepSubmitted};

/// Instead of its state in the row of a sweep that lists pass over.
const ARCHIVED: &str = "Archived";
/// The same of one that is gone.
const DELETED: &str = "Deleted";

/// Sweeps of one former name that are looked at: a name that is used again and again has a long past.
const FORMER_MAX: i64 = 100;

/// One row a sweep.
pub(crate) struct Listed;

/// What the list says about a sweep that has ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Summary {
    pub name: String,
    pub experiment: String,
    pub description: String,
    pub tags: BTreeMap<String, String>,
    pub reason: String,
    pub goal: String,
    pub primary_metric: String,
    pub max_total_trials: u32,
    pub max_concurrent_trials: u32,
    /// Trials of its own, where that is limited.
    pub max_new_trials: Option<u32>,
    /// Trials of its own that it has from elsewhere.
    pub adopted: u32,
    pub seed: String,
    pub cluster: String,
    pub created_at: String,
    pub started_at: String,
    pub ended_at: String,
    pub version: i64,
    pub warnings: Vec<Warning>,
    pub closing: Closing,
}

/// A row of the list.
#[derive(Clone, Debug)]
pub(crate) struct ListedSweep {
    pub sweep_id: SweepId,
    pub position: i64,
    pub state: String,
    pub summary: Summary,
}

impl View for Listed {
    fn name(&self) -> &'static str {
        "sweeps_listed"
    }

    fn tables(&self) -> &'static [ViewTable] {
        &[ViewTable::Own("sweeps_listed")]
    }

    /// Reports and moves of trials are most of a log and change nothing here.
    fn wants(&self, event: &RecordedEvent) -> bool {
        let silent = ["ObservationsInherited", "ObservationRecorded", "DecisionMade", "ModelFitted"];
        let is_silent = silent.contains(&event.kind.as_str()) || event.kind.starts_with("Trial");
        !is_silent || event.kind == "TrialsAdopted"
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for event in events.iter().filter(|event| self.wants(event)) {
                let Some(sweep_id) = crate::stream::sweep_of(&event.stream) else { continue };
                apply(tx, sweep_id, event).await?;
            }
            Ok(())
        })
    }
}

async fn apply(tx: &mut Transaction, sweep_id: SweepId, event: &RecordedEvent) -> Result<(), Error> {
    let id = sweep_id.to_string();
    let decoded = event.decode::<SweepEvent>()?;
    if let SweepEvent::SweepSubmitted(submitted) = &decoded {
        let insert = "INSERT INTO sweeps_listed(sweep_id, command_id, workspace, position, state, summary)
                      VALUES ($1, $2, $3, $4, $5, '{}') ON CONFLICT(sweep_id) DO UPDATE SET
                      command_id = excluded.command_id, workspace = excluded.workspace,
                      position = excluded.position, state = excluded.state, summary = excluded.summary";
        sql(insert)
            .bind(&id)
            .bind(event.command_id)
            .bind(&submitted.workspace)
            .bind(event.position)
            .bind(SweepState::Queued.to_string())
            .execute(&mut *tx)
            .await?;
    }
    let row: Option<(String, String)> =
        sql("SELECT state, summary FROM sweeps_listed WHERE sweep_id = $1").bind(&id).fetch_optional(&mut *tx).await?;
    let Some((mut state, summary)) = row else { return Ok(()) };
    let mut summary: Summary = serde_json::from_str(&summary).unwrap_or_default();
    if let Some(new) = summary.take(&decoded) {
        state = new.to_string();
    }
    let out_of_the_way = match &decoded {
        SweepEvent::SweepArchived(_) => Some(ARCHIVED),
        SweepEvent::SweepDeleted(_) => Some(DELETED),
        _ => None,
    };
    if let SweepEvent::SweepUnarchived(taken_back) = &decoded {
        state = taken_back.state.to_string();
    }
    if let Some(instead) = out_of_the_way {
        instead.clone_into(&mut state);
        sql("DELETE FROM sweep_names WHERE sweep_id = $1").bind(&id).execute(&mut *tx).await?;
    }
    summary.version = event.version;
    let summary = serde_json::to_string(&summary).unwrap_or_default();
    sql("UPDATE sweeps_listed SET state = $1, summary = $2 WHERE sweep_id = $3")
        .bind(state)
        .bind(summary)
        .bind(&id)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

impl Summary {
    /// How many trials it may have had itself at most, of one that has ended: as the sweep says it.
    pub(crate) fn trial_limit(&self) -> u32 {
        let total = self.max_total_trials.saturating_sub(self.closing.inherited);
        self.max_new_trials.map_or(total, |new| total.min(self.adopted.saturating_add(new)))
    }

    /// Of a sweep that has just been submitted.
    fn submitted(event: &SweepSubmitted) -> Self {
        let spec = &event.spec;
        Self {
            name: event.name.clone(),
            experiment: spec.experiment.clone(),
            description: spec.description.clone(),
            tags: spec.tags.clone(),
            goal: spec.objective.goal.to_string(),
            primary_metric: spec.objective.primary_metric.clone(),
            max_total_trials: spec.limits.max_total_trials,
            max_concurrent_trials: spec.limits.max_concurrent_trials,
            max_new_trials: spec.limits.max_new_trials,
            seed: event.seed.to_string(),
            cluster: spec.cluster.clone(),
            created_at: event.at.to_string(),
            warnings: event.warnings.clone(),
            ..Self::default()
        }
    }

    /// Takes an event in and answers the state that follows from it, if one does.
    fn take(&mut self, event: &SweepEvent) -> Option<SweepState> {
        let mut end = |reason: &str, closing: &Closing, at: Timestamp| {
            reason.clone_into(&mut self.reason);
            self.closing = closing.clone();
            self.ended_at = at.to_string();
        };
        match event {
            SweepEvent::SweepSubmitted(event) => {
                *self = Self::submitted(event);
                Some(SweepState::Queued)
            }
            SweepEvent::TrialsAdopted(event) => {
                self.adopted += u32::try_from(event.trials.len()).unwrap_or(u32::MAX);
                None
            }
            SweepEvent::SweepStarted(event) => {
                self.started_at = event.at.to_string();
                Some(SweepState::Running)
            }
            SweepEvent::SweepPaused(_) => Some(SweepState::Paused),
            SweepEvent::SweepResumed(_) => Some(SweepState::Running),
            SweepEvent::SweepExtended(event) => {
                self.max_total_trials = event.limits.max_total_trials;
                self.max_new_trials = event.limits.max_new_trials;
                self.ended_at.clear();
                Some(event.state)
            }
            SweepEvent::LimitsChanged(event) => {
                self.max_total_trials = event.limits.max_total_trials;
                self.max_concurrent_trials = event.limits.max_concurrent_trials;
                self.max_new_trials = event.limits.max_new_trials;
                None
            }
            SweepEvent::SweepDescribed(event) => {
                self.description.clone_from(&event.description);
                self.tags.clone_from(&event.tags);
                None
            }
            SweepEvent::SweepCompleting(_) => Some(SweepState::Completing),
            SweepEvent::SweepCanceling(_) => Some(SweepState::Canceling),
            SweepEvent::SweepCompleted(event) => {
                end(&event.reason.to_string(), &event.closing, event.at);
                Some(SweepState::Completed)
            }
            SweepEvent::SweepFailed(event) => {
                end(&format!("{}: {}", event.code, event.detail), &event.closing, event.at);
                Some(SweepState::Failed)
            }
            SweepEvent::SweepCanceled(event) => {
                end(&event.by, &event.closing, event.at);
                Some(SweepState::Canceled)
            }
            SweepEvent::SweepWarned(event) => {
                let (code, message) = (event.code.clone(), event.message.clone());
                self.warnings.push(Warning { code, pointer: String::new(), message });
                None
            }
            _ => None,
        }
    }
}

/// A page of a workspace's sweeps, the newest first, before a position. The row of an archived one does not have the
/// state in which it ended, and is there whichever is asked for.
pub(crate) async fn listed(
    reader: &Reader,
    workspace: &str,
    (view, state): (ArchivedView, &str),
    before: i64,
    limit: i32,
) -> Result<Vec<ListedSweep>, Error> {
    let all = "SELECT sweep_id, position, state, summary FROM sweeps_listed
               WHERE workspace = $1 AND position < $2 AND state <> 'Deleted'
               AND ($3 = 'all' OR ($3 = 'archived') = (state = 'Archived'))
               AND ($4 = '' OR state = $4 OR state = 'Archived')
               ORDER BY position DESC LIMIT $5";
    let query = sql(all).bind(workspace).bind(before).bind(view.as_str()).bind(state).bind(limit);
    let rows: Vec<(String, i64, String, String)> = query.fetch_all(reader).await?;
    let read = |(id, position, state, summary): (String, i64, String, String)| {
        let summary = serde_json::from_str(&summary).unwrap_or_default();
        Some(ListedSweep { sweep_id: SweepId::parse(&id).ok()?, position, state, summary })
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

/// All sweeps that have not ended.
pub(crate) async fn active(reader: &Reader) -> Result<Vec<SweepId>, Error> {
    let ids: Vec<String> = sql("SELECT sweep_id FROM sweeps_listed
             WHERE state NOT IN ('Completed', 'Failed', 'Canceled', 'Archived', 'Deleted')")
    .fetch_all(reader)
    .await?;
    Ok(ids.iter().filter_map(|id| SweepId::parse(id).ok()).collect())
}

/// The sweep that a command has submitted.
pub(crate) async fn by_command(reader: &Reader, command: Uuid) -> Result<Option<SweepId>, Error> {
    let id: Option<String> =
        sql("SELECT sweep_id FROM sweeps_listed WHERE command_id = $1").bind(command).fetch_optional(reader).await?;
    Ok(id.and_then(|id| SweepId::parse(&id).ok()))
}

/// The sweep of a name.
pub(crate) async fn by_name(reader: &Reader, workspace: &str, name: &str) -> Result<Option<SweepId>, Error> {
    let id: Option<String> = sql("SELECT sweep_id FROM sweep_names WHERE workspace = $1 AND name = $2")
        .bind(workspace)
        .bind(name)
        .fetch_optional(reader)
        .await?;
    Ok(id.and_then(|id| SweepId::parse(&id).ok()))
}

/// The sweeps that had a name until they were archived, the newest first, and so many of them at most; with `deleted`
/// also those that are gone.
pub(crate) async fn by_former_name(
    reader: &Reader,
    workspace: &str,
    name: &str,
    deleted: bool,
) -> Result<Vec<SweepId>, Error> {
    // The members of a summary stand in their order, its name first.
    let get = "SELECT sweep_id FROM sweeps_listed
               WHERE workspace = $1 AND (state = 'Archived' OR (state = 'Deleted' AND $2 = 'yes'))
               AND substr(summary, 1, CAST($3 AS INTEGER)) = $4 ORDER BY position DESC LIMIT $5";
    let begins = format!("{{\"name\":{}", serde_json::Value::from(name));
    // Both stores count characters.
    let length = i64::try_from(begins.chars().count()).unwrap_or(i64::MAX);
    let deleted = if deleted { "yes" } else { "no" };
    let query = sql(get).bind(workspace).bind(deleted).bind(length).bind(begins).bind(FORMER_MAX);
    let ids: Vec<String> = query.fetch_all(reader).await?;
    Ok(ids.iter().filter_map(|id| SweepId::parse(id).ok()).collect())
}

/// The sweeps of a workspace with ids from one to another.
pub(crate) async fn between(
    reader: &Reader,
    workspace: &str,
    first: SweepId,
    last: SweepId,
    limit: i32,
) -> Result<Vec<SweepId>, Error> {
    let get = "SELECT sweep_id FROM sweeps_listed
               WHERE sweep_id >= $1 AND sweep_id <= $2 AND workspace = $3 AND state <> 'Deleted'
               ORDER BY sweep_id LIMIT $4";
    let query = sql(get).bind(first.to_string()).bind(last.to_string()).bind(workspace).bind(limit);
    let ids: Vec<String> = query.fetch_all(reader).await?;
    Ok(ids.iter().filter_map(|id| SweepId::parse(id).ok()).collect())
}
