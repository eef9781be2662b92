//! Outputs of a job: every file of its output folders becomes an artifact of the run.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use contracts::runs::{Artifact, ObjectChunk, RecordArtifactsRequest};
use runtime::Backoff;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Attempt;
use crate::errors::{self, Refusal};
use crate::folder;
use crate::node::Node;

/// Bytes of a file sent in one message.
const CHUNK_BYTES: usize = 512 << 10;
/// Messages read ahead of the connection.
const CHUNKS_WAITING_MAX: usize = 4;
/// Waits between two tries while runs does not answer.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);

/// A file and the path of its artifact.
pub(super) type File = (PathBuf, String);

/// All files of all output folders, sorted. Links are left out, which is said.
pub(super) fn files(attempt: &Attempt) -> Vec<File> {
    let outputs = attempt.order.spec.as_ref().map_or(&[][..], |spec| &spec.outputs);
    let mut found = Vec::new();
    for id in outputs {
        let root = attempt.folder.join("outputs").join(id);
        if let Err(error) = walk(&root, &format!("outputs/{id}"), &attempt.folder, &mut found) {
            folder::notice(&attempt.folder, &format!("output '{id}' cannot be read whole: {error}"));
        }
    }
    found.sort();
    found
}

fn walk(path: &Path, name: &str, attempt: &Path, found: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if kind.is_dir() {
            walk(&entry.path(), &name, attempt, found)?;
        } else if kind.is_file() {
            found.push((entry.path(), name));
        } else {
            folder::notice(attempt, &format!("{name} is not a regular file and was not uploaded"));
        }
    }
    Ok(())
}

/// Uploads the files and records them; patient with a server that is away.
///
/// # Errors
/// When runs refuses one, with the reason.
pub(super) async fn upload(node: &Arc<Node>, attempt: &Arc<Attempt>, files: Vec<File>) -> Result<(), String> {
    let mut artifacts = Vec::new();
    for (path, name) in files {
        let read = path.clone();
        let (sha256, size_bytes) = tokio::task::spawn_blocking(move || facts(&read))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("{name}: {error}"))?;
        patiently(|| put(node, &path, &sha256)).await.map_err(|reason| format!("{name}: {reason}"))?;
        let attempt = attempt.order.attempt;
        artifacts.push(Artifact { path: name, sha256, size_bytes, attempt, superseded: false });
    }
    let request = RecordArtifactsRequest {
        workspace: attempt.order.workspace.clone(),
        run_id: attempt.order.run_id.clone(),
        attempt: attempt.order.attempt,
        artifacts,
    };
    patiently(|| async {
        let server = node.link.server().await;
        let call = node.call().attach(request.clone());
        server.peers.runs_client().record_artifacts(call).await.map(drop)
    })
    .await
}

async fn patiently<T, F, A>(mut call: F) -> Result<T, String>
where
    F: FnMut() -> A,
    A: Future<Output = Result<T, tonic::Status>>,
{
    let mut backoff = Backoff::new(BACK_OFF_MIN, BACK_OFF_MAX);
    loop {
        let status = match call().await {
            Ok(answer) => return Ok(answer),
            Err(status) => status,
        };
        if let Refusal::Skip(problem) | Refusal::Over(problem) = errors::refusal(&status) {
            return Err(problem.to_string());
        }
        tracing::warn!("an output is sent again: {status}");
        backoff.wait().await;
    }
}

fn facts(path: &Path) -> io::Result<(String, u64)> {
    let (mut file, mut hash) = (fs::File::open(path)?, Sha256::new());
    let (mut buffer, mut size) = (vec![0; CHUNK_BYTES], 0);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((hex::encode(hash.finalize()), size));
        }
        hash.update(&buffer[..count]);
        size += u64::try_from(count).unwrap_or_default();
    }
}

async fn put(node: &Node, path: &Path, sha256: &str) -> Result<(), tonic::Status> {
    let server = node.link.server().await;
    let (sender, chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
    let (path, sha256) = (path.to_owned(), sha256.to_owned());
    let reader = tokio::task::spawn_blocking(move || -> io::Result<()> {
        let mut file = fs::File::open(path)?;
        // The hash goes with the first chunk, which an empty file has too.
        let mut chunk = ObjectChunk { sha256, data: Default::default() };
        loop {
            let mut data = vec![0; CHUNK_BYTES];
            let count = file.read(&mut data)?;
            data.truncate(count);
            chunk.data = data;
            if (count == 0 && chunk.sha256.is_empty()) || sender.blocking_send(std::mem::take(&mut chunk)).is_err() {
                return Ok(());
            }
        }
    });
    let answer = server.peers.runs_client().put_object(node.call().attach(ReceiverStream::new(chunks))).await;
    match reader.await {
        Ok(Err(error)) => Err(tonic::Status::invalid_argument(error.to_string())),
        _ => answer.map(drop),
    }
}
