//! Artifacts: which object stands at which path of a run. The bytes are in the object store before they are recorded
//! here.

use std::collections::BTreeSet;
use std::sync::Arc;

use contracts::CallContext;
use contracts::runs as wire;
use eventlog::{RecordError, Recorded, Transaction, sql};
use prost::Message;
use tonic::{Request, Response, Status};
use vocabulary::{FieldError, Problem, RunId};

use super::{bad_token, command, objects, run_in, run_named, status};
use crate::objects::Hash;
use crate::run::{self, Admitted, ArtifactsRecorded, Rejection, Run, RunEvent, Writer};
use crate::service::Core;
use crate::views::object_owners;

/// Artifacts of one request.
const ARTIFACTS_MAX: usize = 10_000;
/// Bytes of a path.
const PATH_BYTES_MAX: usize = 1_024;

struct Files {
    workspace: String,
    run: RunId,
    attempt: u32,
    writer: Writer,
    artifacts: Vec<wire::Artifact>,
}

pub(super) async fn record(
    core: &Core,
    request: Request<wire::RecordArtifactsRequest>,
) -> Result<Response<wire::RecordArtifactsReply>, Status> {
    let call = CallContext::of(&request);
    let wire::RecordArtifactsRequest { workspace, run_id, attempt, artifacts } = request.into_inner();
    let run = run_named(&run_id, &workspace)?;
    let owner = Some(workspace.as_str()).filter(|_| !objects::is_agent(core, &call));
    let _naming = core.naming.read().await;
    let artifacts = check(core, owner, artifacts).await.map_err(status)?;
    let context = calls::context(&call, core.entropy.as_ref(), Vec::new());
    let files = Arc::new(Files { workspace, run, attempt, writer: core.writer(&call), artifacts });
    let stream = run::stream(run);
    let recorded = core.log.record::<Run, _>(&stream, None, context, move |state, tx| {
        let files = Arc::clone(&files);
        Box::pin(async move { write(&files, state, tx).await })
    });
    let committed = recorded.await.map_err(calls::refused)?;
    Ok(contracts::with_position(command::reply(&committed)?, committed.position))
}

/// Checks paths and hashes; sizes are those of the objects, whatever was sent. The objects must be had by `owner`; an
/// agent has put them itself.
async fn check(
    core: &Core,
    owner: Option<&str>,
    artifacts: Vec<wire::Artifact>,
) -> Result<Vec<wire::Artifact>, Problem> {
    if artifacts.len() > ARTIFACTS_MAX {
        let message =
            format!("artifacts has {} entries, limit {ARTIFACTS_MAX}; send several requests", artifacts.len());
        return Err(Problem::invalid("/artifacts", "TooLarge", message));
    }
    let mut errors = Vec::new();
    let mut checked = Vec::with_capacity(artifacts.len());
    for (index, artifact) in artifacts.into_iter().enumerate() {
        if let Some(wrong) = bad_path(&artifact.path) {
            errors.push(FieldError::new(format!("/artifacts/{index}/path"), "BadPath", wrong));
            continue;
        }
        let pointer = format!("/artifacts/{index}/sha256");
        match Hash::parse(&artifact.sha256) {
            Err(problem) => errors.push(FieldError::new(pointer, "BadHash", problem.detail)),
            Ok(hash) => match size_for(core, owner, &hash).await? {
                Some(size_bytes) => {
                    let sha256 = hash.as_str().to_owned();
                    let (path, superseded) = (artifact.path, false);
                    checked.push(wire::Artifact { path, sha256, size_bytes, attempt: 0, superseded });
                }
                None => {
                    let message = format!("{}: there is no object {}; upload it first", artifact.path, hash.as_str());
                    errors.push(FieldError::new(pointer, "ObjectMissing", message));
                }
            },
        }
    }
    if errors.is_empty() { Ok(checked) } else { Err(Problem::of_errors(422, errors)) }
}

async fn size_for(core: &Core, owner: Option<&str>, hash: &Hash) -> Result<Option<u64>, Problem> {
    match owner {
        Some(workspace) if !objects::is_there(core, workspace, hash).await? => Ok(None),
        _ => core.objects.size(hash).await,
    }
}

fn bad_path(path: &str) -> Option<String> {
    let bad = path.is_empty()
        || path.len() > PATH_BYTES_MAX
        || path.chars().any(|c| c.is_control() || c == '\\')
        || path.split('/').any(|segment| matches!(segment, "" | "." | ".."));
    bad.then(|| format!("path {path:?}: relative, at most {PATH_BYTES_MAX} bytes, no '..', '.', '\\' or empty segment"))
}

async fn write(files: &Files, run: &Run, tx: &mut Transaction) -> Result<Recorded<RunEvent>, RecordError<Rejection>> {
    let admitted = match run.admit(&files.workspace, &files.run.to_string(), files.attempt, &files.writer) {
        // A client that drives its run itself may add files afterwards; a token of an attempt is over with it.
        Err(Rejection::Terminal { .. }) if !run.has_job() && files.writer == Writer::Client => {
            Admitted::Live(run.attempt)
        }
        admitted => admitted.map_err(RecordError::Rejected)?,
    };
    let (Admitted::Live(attempt) | Admitted::Late(attempt)) = admitted;
    let key = files.run.uuid().as_bytes().to_vec();
    for artifact in &files.artifacts {
        put(tx, &key, artifact, attempt).await?;
        if let Ok(hash) = Hash::parse(&artifact.sha256) {
            object_owners::give(&mut *tx, &files.workspace, &hash).await?;
        }
    }
    let count = u32::try_from(files.artifacts.len()).unwrap_or(u32::MAX);
    let subject = run.subject.clone();
    let is_news = count > 0 && matches!(admitted, Admitted::Live(_));
    let event = is_news.then(|| ArtifactsRecorded { subject, attempt, count, outputs: outputs(files) }.into());
    let reply = wire::RecordArtifactsReply { recorded: count }.encode_to_vec();
    Ok(Recorded { events: event.into_iter().collect(), reply })
}

/// The ids of the outputs that some of the files are of.
fn outputs(files: &Files) -> Vec<String> {
    let below = files.artifacts.iter().filter_map(|artifact| artifact.path.strip_prefix("outputs/")?.split_once('/'));
    below.map(|(id, _)| id.to_owned()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Names one file. At each path stands the file of the newest attempt; those of earlier ones are kept beside it.
async fn put(
    tx: &mut Transaction,
    run: &[u8],
    artifact: &wire::Artifact,
    attempt: u32,
) -> Result<(), RecordError<Rejection>> {
    let size_bytes = i64::try_from(artifact.size_bytes).unwrap_or(i64::MAX);
    if attempt > 1 {
        let keep = "INSERT INTO superseded_artifacts(run, path, attempt, sha256, size_bytes)
            SELECT run, path, attempt, sha256, size_bytes FROM artifacts WHERE run = $1 AND path = $2 AND attempt < $3
            ON CONFLICT(run, path, attempt) DO NOTHING";
        sql(keep).bind(run).bind(&artifact.path).bind(attempt).execute(&mut *tx).await?;
    }
    let name = "INSERT INTO artifacts(run, path, sha256, size_bytes, attempt) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT(run, path) DO UPDATE SET sha256 = excluded.sha256, size_bytes = excluded.size_bytes,
        attempt = excluded.attempt WHERE excluded.attempt >= artifacts.attempt";
    let query = sql(name).bind(run).bind(&artifact.path).bind(&artifact.sha256).bind(size_bytes);
    if query.bind(attempt).execute(&mut *tx).await? == 0 {
        let keep =
            "INSERT INTO superseded_artifacts(run, path, attempt, sha256, size_bytes) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT(run, path, attempt) DO UPDATE SET sha256 = excluded.sha256, size_bytes = excluded.size_bytes";
        let query = sql(keep).bind(run).bind(&artifact.path).bind(attempt).bind(&artifact.sha256);
        query.bind(size_bytes).execute(tx).await?;
    }
    Ok(())
}

/// Attempt and path of a page token.
fn place_of(token: &str) -> Option<(u32, &str)> {
    let (attempt, path) = token.split_once('.')?;
    Some((attempt.parse().ok()?, path))
}

pub(super) async fn list(
    core: &Core,
    request: Request<wire::ListArtifactsRequest>,
) -> Result<Response<wire::ListArtifactsReply>, Status> {
    calls::at_least(&core.log, &CallContext::of(&request)).await?;
    let request = request.into_inner();
    let (size, token) = calls::page(request.page_size, &request.page_token)?;
    let run = run_in(core, &request.workspace, &request.run_id).await?;
    let prefix = request.prefix.trim_matches('/');
    let (attempt, after) = match &token {
        None => (0, ""),
        Some(token) => place_of(token).ok_or_else(|| bad_token(token))?,
    };
    let superseded = request.superseded;
    let table = if superseded { "superseded_artifacts" } else { "artifacts" };
    // '0' is the character after '/': the range is exactly what lies in the folder.
    let get = format!(
        "SELECT path, sha256, size_bytes, attempt FROM {table} WHERE run = $1 AND (path, attempt) > ($2, $5)
        AND ($3 = '' OR path = $3 OR (path >= $3 || '/' AND path < $3 || '0')) ORDER BY path, attempt LIMIT $4"
    );
    let rows: Vec<(String, String, i64, u32)> = sql(get)
        .bind(run.uuid().as_bytes().to_vec())
        .bind(after)
        .bind(prefix)
        .bind(size + 1)
        .bind(attempt)
        .fetch_all(core.log.reader())
        .await
        .map_err(calls::unreadable)?;
    let shown = rows.into_iter().map(|(path, sha256, size_bytes, attempt)| {
        let size_bytes = u64::try_from(size_bytes).unwrap_or_default();
        wire::Artifact { path, sha256, size_bytes, attempt, superseded }
    });
    let (artifacts, more) = calls::Page::fill(size, shown);
    let token = |last: &wire::Artifact| format!("{}.{}", last.attempt, last.path);
    let next_page_token = artifacts.last().filter(|_| more).map(token).unwrap_or_default();
    Ok(Response::new(wire::ListArtifactsReply { artifacts, next_page_token }))
}
