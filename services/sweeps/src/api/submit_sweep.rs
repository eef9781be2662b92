//! Takes a document, or says everything that is wrong with it.

use std::sync::Arc;
use std::time::Duration;

use contracts::sweeps as wire;
use contracts::{CallContext, status_of, with_position};
use documents::{Findings, Format};
use eventlog::{Committed, Context, ExecuteError, RecordError, Recorded, Transaction, sql};
use prost::Message;
use runtime::Stopwatch;
use runtime::background::{self, Awaited};
use serde_json::{Value, json};
use tonic::{Request, Response, Status};
use tuning::{Proposal, TUNER_VERSION};
use vocabulary::{Decider, Problem, SweepId, Warning};

use super::{Answer, sources};
use crate::document::{ClusterFacts, Draft, Referred, SweepSpec, draft_sweep, plan};
use crate::service::Core;
use crate::stream::stream_of;
use crate::sweep::{
    Command, NewTrial, Population, ProposalBasis, Rejection, Sweep, SweepEvent, SweepState, SweepSubmitted,
    parameters_json, proposals,
};
use crate::tuner::{first_suggestions, setup, suggest};
use crate::views;

/// So many proposals show what will be tried.
const PROPOSALS_SHOWN: u32 = 10;
/// A model of a large space shows fewer when it takes longer than this.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);

/// The format that a request names.
pub(super) fn format_of(format: &str) -> Result<Format, Status> {
    match format {
        "" | "json" => Ok(Format::Json),
        "yaml" => Ok(Format::Yaml),
        other => {
            let detail = format!("format '{other}': json or yaml");
            Err(status_of(&Problem::new(415, "UnsupportedMediaType", detail)))
        }
    }
}

fn facts_of(cluster: &wire::ClusterFacts) -> ClusterFacts {
    ClusterFacts {
        max_nodes: cluster.max_nodes,
        node_vcpus: cluster.node_vcpus,
        node_memory_bytes: cluster.node_memory_bytes,
        node_gpus: cluster.node_gpus,
    }
}

/// Notes what is not there, or not ready.
fn check_resolved(referred: &Referred, workspace: &str, resolved: Option<&wire::Resolved>, findings: &Findings) {
    if let Some(name) = &referred.cluster {
        match resolved.and_then(|resolved| resolved.cluster.as_ref()) {
            None => findings.absent("/cluster", Problem::not_found("cluster", name, workspace).detail),
            Some(cluster) if !cluster.provisioning_state.eq_ignore_ascii_case("succeeded") => {
                let state = cluster.provisioning_state.to_ascii_lowercase();
                findings.conflict("/cluster", "ClusterNotReady", format!("cluster '{name}': state {state}"));
            }
            Some(_) => {}
        }
    }
    if let Some(code) = referred.code.as_ref().filter(|_| !resolved.is_some_and(|resolved| resolved.code_present)) {
        let code = format!("sha256:{code}");
        findings.absent("/trial/code", Problem::not_found("object", &code, workspace).detail);
    }
}

impl Core {
    pub(super) async fn submit_sweep(
        &self,
        request: Request<wire::SubmitSweepRequest>,
    ) -> Answer<wire::SubmitSweepReply> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        let cluster = request.resolved.as_ref().and_then(|resolved| resolved.cluster.as_ref()).map(facts_of);
        let format = format_of(&request.format)?;
        let (limits, known, document) = (self.limits, cluster.clone(), request.document);
        let read = runtime::reading::body(document.len(), move || {
            draft_sweep(&document, format, &limits, known.as_ref()).map(|draft| (draft, document))
        });
        let (Draft { spec, referred, findings }, document) = read.await.flatten().map_err(refuse)?;
        // A repeat is answered even if the cluster has gone since.
        let before = match call.command_id.filter(|_| !request.dry_run) {
            Some(command) => views::by_command(self.log.reader(), command).await.map_err(calls::unreadable)?,
            None => None,
        };
        let at = self.clock.now();
        let mut history = Vec::new();
        if before.is_none() {
            check_resolved(&referred, &request.workspace, request.resolved.as_ref(), &findings);
            let found = self.inherited(&request.workspace, spec.as_ref(), &referred.sweeps, at).await?;
            history = found.events;
            found.warnings.into_iter().for_each(|w| findings.warn(w.pointer, &w.code, w.message));
            found.faults.into_iter().for_each(|(pointer, fault)| findings.add_problem(&pointer, fault));
        }
        let findings = if request.strict { findings.strict() } else { findings };
        let (spec, warnings) = findings.finish(spec).map_err(refuse)?;
        if request.dry_run {
            let mut inherited = Sweep::default();
            history.iter().for_each(|event| inherited.evolve(event));
            return self.dry_run(&request.workspace, spec, &warnings, cluster.as_ref(), &inherited).await;
        }
        let sweep_id = before.unwrap_or_else(|| SweepId::new(self.entropy.uuid()));
        let submitted = SweepSubmitted {
            workspace: request.workspace,
            sweep_id,
            name: spec.name.clone().unwrap_or_else(|| sweep_id.to_string()),
            seed: spec.seed.unwrap_or_else(|| self.entropy.seed()),
            spec,
            document: String::from_utf8_lossy(&document).into_owned(),
            warnings,
            parent: None,
            tuner_version: TUNER_VERSION,
            at,
        };
        self.record(&call, Submission { submitted, history, first: Vec::new() }).await
    }

    pub(super) async fn record(&self, call: &CallContext, submission: Submission) -> Answer<wire::SubmitSweepReply> {
        let context = calls::context(call, self.entropy.as_ref(), Vec::new());
        let first = match self.is_settled(call, &submission.submitted).await.map_err(calls::unreadable)? {
            true => Vec::new(),
            false => self.first_trials(&submission).await,
        };
        let submission = Submission { first, ..submission };
        match self.append(context.clone(), submission.clone()).await {
            // Two equal requests at once: the other was first and has made the sweep.
            Err(ExecuteError::KeyReuse) => {
                let first =
                    views::by_command(self.log.reader(), context.command_id).await.map_err(calls::unreadable)?;
                let Some(sweep_id) = first.filter(|first| *first != submission.submitted.sweep_id) else {
                    return Err(calls::refused(ExecuteError::<Rejection>::KeyReuse));
                };
                let submitted = SweepSubmitted { sweep_id, ..submission.submitted };
                answer(self.append(context, Submission { submitted, ..submission }).await)
            }
            other => answer(other),
        }
    }

    /// Whether the request makes no sweep, as far as can be seen: it is a repeat, or its name is taken. What it is then
    /// answered is the log's to say, but nothing is computed for it.
    async fn is_settled(&self, call: &CallContext, submitted: &SweepSubmitted) -> Result<bool, eventlog::Error> {
        if let Some(command) = call.command_id
            && views::by_command(self.log.reader(), command).await?.is_some()
        {
            return Ok(true);
        }
        let Some(name) = &submitted.spec.name else { return Ok(false) };
        Ok(views::by_name(self.log.reader(), &submitted.workspace, name).await?.is_some())
    }

    /// The sweep's first event, with its name: both or neither.
    async fn append(&self, context: Context, submission: Submission) -> Result<Committed, ExecuteError<Rejection>> {
        let Submission { submitted, history, first } = submission;
        let stream = stream_of(submitted.sweep_id);
        let state = if first.is_empty() { SweepState::Queued } else { SweepState::Running };
        let (submitted, begins_with) = (Arc::new(submitted), Arc::new(sources::of(&history)));
        let submit = Arc::new(Command::SubmitWithHistory { submitted: Box::new((*submitted).clone()), history, first });
        self.log
            .record::<Sweep, _>(&stream, Some(Arc::clone(&submit)), context, move |sweep, tx| {
                let decided = sweep.decide(&submit);
                let (submitted, begins_with) = (Arc::clone(&submitted), Arc::clone(&begins_with));
                Box::pin(async move {
                    let events = decided.map_err(RecordError::Rejected)?;
                    take_name(tx, &Name::of(&submitted)).await?;
                    sources::begin_with(tx, &begins_with, (submitted.sweep_id, &submitted.workspace)).await?;
                    let reply = reply_of(&submitted, state).encode_to_vec();
                    Ok(Recorded { events, reply })
                })
            })
            .await
    }

    async fn dry_run(
        &self,
        workspace: &str,
        spec: SweepSpec,
        warnings: &[Warning],
        cluster: Option<&ClusterFacts>,
        inherited: &Sweep,
    ) -> Answer<wire::SubmitSweepReply> {
        if let Some(name) = &spec.name
            && let Some(holder) = views::by_name(self.log.reader(), workspace, name).await.map_err(calls::unreadable)?
        {
            return Err(refuse(name_taken(name, holder)));
        }
        let mut plan = plan(&spec, cluster);
        let most = inherited.most_trials(&spec.limits);
        plan.trials = plan.trials.min(u64::from(most.saturating_sub(inherited.spent())));
        let basis = ProposalBasis {
            seed: spec.seed.unwrap_or_else(|| self.entropy.seed()),
            allowed: spec.limits.max_total_trials,
            spec: Arc::new(spec),
            from: 0,
            next_index: 0,
            taken: Arc::clone(&inherited.taken),
            inheritance: Arc::clone(&inherited.inheritance),
            population: Population::default(),
        };
        let name = basis.spec.name.clone().unwrap_or_default();
        let made = background::run_while_awaited(move |awaited| shown_proposals(&basis, awaited)).await;
        let made = made.map_err(|error| refuse(Problem::internal(format!("the sampler broke: {error}"))))?;
        let first: Vec<Value> = (0_u32..)
            .zip(&made)
            .map(|(index, proposal)| {
                let parameters: Value = serde_json::from_str(&parameters_json(&proposal.draws)).unwrap_or_default();
                json!({"index": index, "parameters": parameters})
            })
            .collect();
        let mut shown = serde_json::to_value(&plan).unwrap_or_default();
        if let Value::Object(fields) = &mut shown {
            fields.insert("inherited".to_owned(), json!(inherited.inherited()));
            fields.insert("first_proposals".to_owned(), Value::Array(first));
        }
        Ok(Response::new(wire::SubmitSweepReply {
            name,
            warnings: warnings.iter().cloned().map(Into::into).collect(),
            plan_json: shown.to_string(),
            ..wire::SubmitSweepReply::default()
        }))
    }
}

/// What a sweep would try first, as far as that is found in time.
fn shown_proposals(basis: &ProposalBasis, awaited: &Awaited) -> Vec<Proposal> {
    let watch = Stopwatch::start();
    match setup(&basis.spec, basis.seed, TUNER_VERSION) {
        Some(setup) => {
            let most = PROPOSALS_SHOWN.min(basis.allowed);
            let goes_on = || awaited.holds() && watch.elapsed() < SHOWN_WITHIN;
            let made = first_suggestions(setup, &basis.inheritance, suggest, most, goes_on);
            made.into_iter().map(|suggestion| suggestion.proposal).collect()
        }
        None => proposals(basis, PROPOSALS_SHOWN).0.into_iter().map(|planned| planned.proposal).collect(),
    }
}

pub(super) fn refuse(problem: Problem) -> Status {
    status_of(&problem)
}

/// The first events of a sweep.
#[derive(Clone)]
pub(super) struct Submission {
    /// Its submission.
    pub submitted: SweepSubmitted,
    /// What it has from others.
    pub history: Vec<SweepEvent>,
    /// The trials that it begins with; see [`Core::first_trials`].
    pub first: Vec<NewTrial>,
}

fn name_taken(name: &str, holder: SweepId) -> Problem {
    let detail = format!(
        "name '{name}' belongs to {holder}; choose another name (--name-suffix), leave it out, or archive that one \
         first (--replace)"
    );
    Problem::conflict("NameTaken", detail).with("sweep_id", holder.to_string())
}

/// What a sweep is called in its workspace; without a name it is called by its id alone.
pub(super) struct Name {
    pub workspace: String,
    pub name: Option<String>,
    pub sweep_id: SweepId,
}

impl Name {
    /// Of a submission.
    pub(super) fn of(submitted: &SweepSubmitted) -> Self {
        let (workspace, name) = (submitted.workspace.clone(), submitted.spec.name.clone());
        Self { workspace, name, sweep_id: submitted.sweep_id }
    }
}

/// Takes the name, if one was given, in the transaction of what makes the sweep its holder.
pub(super) async fn take_name(tx: &mut Transaction, wanted: &Name) -> Result<(), RecordError<Rejection>> {
    let Some(name) = &wanted.name else { return Ok(()) };
    let id = wanted.sweep_id.to_string();
    let taken = "INSERT INTO sweep_names(workspace, name, sweep_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let written = sql(taken).bind(&wanted.workspace).bind(name).bind(id).execute(&mut *tx).await?;
    if written > 0 {
        return Ok(());
    }
    let holder: String = sql("SELECT sweep_id FROM sweep_names WHERE workspace = $1 AND name = $2")
        .bind(&wanted.workspace)
        .bind(name)
        .fetch_one(&mut *tx)
        .await?;
    let holder = SweepId::parse(&holder).unwrap_or(wanted.sweep_id);
    Err(RecordError::Rejected(name_taken(name, holder).into()))
}

/// The reply to what makes a sweep; its version is known when all that follows is settled.
pub(super) fn reply_of(submitted: &SweepSubmitted, state: SweepState) -> wire::SubmitSweepReply {
    wire::SubmitSweepReply {
        id: submitted.sweep_id.to_string(),
        name: submitted.name.clone(),
        state: state.to_string(),
        version: 0,
        warnings: submitted.warnings.iter().cloned().map(Into::into).collect(),
        plan_json: String::new(),
    }
}

/// The first reply, also of a repeat.
pub(super) fn answer(done: Result<Committed, ExecuteError<Rejection>>) -> Answer<wire::SubmitSweepReply> {
    let committed = done.map_err(calls::refused)?;
    let reply = wire::SubmitSweepReply::decode(committed.reply.as_slice()).map_err(calls::unreadable)?;
    let reply = wire::SubmitSweepReply { version: committed.version, ..reply };
    Ok(with_position(reply, committed.position))
}
