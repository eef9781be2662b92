//! Artifacts: which object stands at which path of a run. The bytes are in the object store before they are recorded
//! here.

use std::sync::Arc;

use contracts::CallContext;
use contracts::runs as wire;
use eventlog::{RecordError, Recorded, Transaction, sql};
use prost::Message;
use tonic::{Request, Response, Status};
use vocabulary::{FieldError, Problem, RunId};

use super::{command, run_in, run_named, status};
use crate::objects::Hash;
use crate::run::{self, ArtifactsRecorded, Rejection, Run, RunEvent};
use crate::service::Core;

/// Artifacts of one request.
const ARTIFACTS_MAX: usize = 10_000;
/// Bytes of a path.
const PATH_BYTES_MAX: usize = 1_024;

struct Files {
    workspace: String,
    run: RunId,
    attempt: u32,
    artifacts: Vec<wire::Artifact>,
}

pub(super) async fn record(
    core: &Core,
    request: Request<wire::RecordArtifactsRequest>,
) -> Result<Response<wire::RecordArtifactsReply>, Status> {
    let call = CallContext::of(&request);
    let wire::RecordArtifactsRequest { workspace, run_id, attempt, artifacts } = request.into_inner();
    let run = run_named(&run_id, &workspace)?;
    let artifacts = check(core, artifacts).await.map_err(status)?;
    let context = calls::context(&call, core.entropy.as_ref(), Vec::new());
    let files = Arc::new(Files { workspace, run, attempt, artifacts });
    let stream = run::stream(run);
    let recorded = core.log.record::<Run, _>(&stream, context, move |state, tx| {
        let files = Arc::clone(&files);
        Box::pin(async move { write(&files, state, tx).await })
    });
    let committed = recorded.await.map_err(calls::refused)?;
    Ok(contracts::with_position(command::reply(&committed)?, committed.position))
}

/// Checks paths and hashes; sizes are those of the objects, whatever was sent.
async fn check(core: &Core, artifacts: Vec<wire::Artifact>) -> Result<Vec<wire::Artifact>, Problem> {
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
            Ok(hash) => match core.objects.size(&hash).await? {
                Some(size_bytes) => {
                    let sha256 = hash.as_str().to_owned();
                    checked.push(wire::Artifact { path: artifact.path, sha256, size_bytes, attempt: 0 });
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

fn bad_path(path: &str) -> Option<String> {
    let bad = path.is_empty()
        || path.len() > PATH_BYTES_MAX
        || path.chars().any(|c| c.is_control() || c == '\\')
        || path.split('/').any(|segment| matches!(segment, "" | "." | ".."));
    bad.then(|| format!("path {path:?}: relative, at most {PATH_BYTES_MAX} bytes, no '..', '.', '\\' or empty segment"))
}

async fn write(files: &Files, run: &Run, tx: &mut Transaction) -> Result<Recorded<RunEvent>, RecordError<Rejection>> {
    let attempt = match run.fence(&files.workspace, &files.run.to_string(), files.attempt) {
        // A client that drives its run itself may add files afterwards.
        Err(Rejection::Terminal { .. }) if !run.has_job() => run.attempt,
        fenced => fenced.map_err(RecordError::Rejected)?,
    };
    let key = files.run.uuid().as_bytes().to_vec();
    for artifact in &files.artifacts {
        sql("INSERT INTO artifacts(run, path, sha256, size_bytes, attempt) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT(run, path) DO UPDATE SET sha256 = excluded.sha256, size_bytes = excluded.size_bytes,
            attempt = excluded.attempt")
        .bind(&key)
        .bind(&artifact.path)
        .bind(&artifact.sha256)
        .bind(i64::try_from(artifact.size_bytes).unwrap_or(i64::MAX))
        .bind(attempt)
        .execute(&mut *tx)
        .await?;
    }
    let count = u32::try_from(files.artifacts.len()).unwrap_or(u32::MAX);
    let subject = run.subject.clone();
    let event = (count > 0).then(|| ArtifactsRecorded { subject, attempt, count }.into());
    let reply = wire::RecordArtifactsReply { recorded: count }.encode_to_vec();
    Ok(Recorded { events: event.into_iter().collect(), reply })
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
    // '0' is the character after '/': the range is exactly what lies in the folder.
    let rows: Vec<(String, String, i64, u32)> =
        sql("SELECT path, sha256, size_bytes, attempt FROM artifacts WHERE run = $1 AND path > $2
        AND ($3 = '' OR path = $3 OR (path >= $3 || '/' AND path < $3 || '0')) ORDER BY path LIMIT $4")
        .bind(run.uuid().as_bytes().to_vec())
        .bind(token.unwrap_or_default())
        .bind(prefix)
        .bind(size + 1)
        .fetch_all(core.log.reader())
        .await
        .map_err(calls::unreadable)?;
    let more = rows.len() > size as usize;
    let artifacts: Vec<_> = rows
        .into_iter()
        .take(size as usize)
        .map(|(path, sha256, size_bytes, attempt)| {
            let size_bytes = u64::try_from(size_bytes).unwrap_or_default();
            wire::Artifact { path, sha256, size_bytes, attempt }
        })
        .collect();
    let next_page_token = artifacts.last().filter(|_| more).map(|last| last.path.clone()).unwrap_or_default();
    Ok(Response::new(wire::ListArtifactsReply { artifacts, next_page_token }))
}
