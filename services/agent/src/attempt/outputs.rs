//! Outputs of a job: every file of its output folders becomes an artifact of the run.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use contracts::runs::{Artifact, ObjectChunk, RecordArtifactsRequest};
use runtime::Backoff;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::best::Best;
use super::state::Attempt;
use crate::errors::{self, Refusal};
use crate::folder;
use crate::node::Node;

/// Bytes of a file sent in one message.
const CHUNK_BYTES: usize = 512 << 10;
/// Messages read ahead of the connection.
const CHUNKS_WAITING_MAX: usize = 4;
/// Bytes of an artifact's path, as runs takes it.
const PATH_BYTES_MAX: usize = 1_024;
/// Waits between two tries while runs does not answer.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);

/// A file and the path of its artifact.
pub(super) type File = (PathBuf, String);

/// All files of all output folders, sorted. Links, and files whose names no artifact can have, are left out, which is
/// said.
pub(super) fn files(attempt: &Attempt) -> Vec<File> {
    let outputs = attempt.order.spec.as_ref().map_or(&[][..], |spec| &spec.outputs);
    let kept = attempt.best.as_ref().and_then(Best::kept);
    files_of(&attempt.folder, outputs, kept.as_deref())
}

/// The files of the outputs that are kept at the best value, of an attempt that did not come to its own end: what was
/// whole then is worth as much as if it had.
pub(super) fn kept_files(attempt: &Attempt) -> Vec<File> {
    let Some(kept) = attempt.best.as_ref().and_then(Best::kept).map(|kept| kept.join("outputs")) else {
        return Vec::new();
    };
    let mut outputs = attempt.order.spec.as_ref().map(|spec| spec.outputs.clone()).unwrap_or_default();
    outputs.retain(|id| kept.join(id).is_dir());
    files_of(&attempt.folder, &outputs, kept.parent())
}

/// Of an output that lies in the copy `kept`, that one.
fn files_of(attempt: &Path, outputs: &[String], kept: Option<&Path>) -> Vec<File> {
    let mut found = Vec::new();
    for id in outputs {
        let kept = kept.map(|kept| kept.join("outputs")).filter(|kept| kept.join(id).is_dir());
        let all = kept.unwrap_or_else(|| attempt.join("outputs"));
        let read = real_folder(&all)
            .and_then(|()| real_folder(&all.join(id)))
            .and_then(|()| walk(&all.join(id), &format!("outputs/{id}"), attempt, &mut found));
        if let Err(error) = read {
            folder::notice(attempt, &format!("output '{id}' cannot be read whole: {error}"));
        }
    }
    found.sort();
    found
}

/// A job may put a link in the place of its output folder; what that leads to is none of its output.
fn real_folder(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::NotADirectory, "a link or a file stands in the place of its folder"))
}

/// Why no artifact can have this name, if so. One such file must not cost the run all its outputs.
fn odd(name: Option<&str>) -> Option<&'static str> {
    match name {
        None => Some("is not UTF-8"),
        Some(name) if name.len() > PATH_BYTES_MAX => Some("has a longer path than an artifact can have"),
        Some(name) if name.contains(|c: char| c.is_control() || c == '\\') => {
            Some("has a control character or a backslash in its name")
        }
        Some(_) => None,
    }
}

fn walk(path: &Path, name: &str, attempt: &Path, found: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let own = entry.file_name();
        let shown = format!("{name}/{}", own.to_string_lossy().escape_debug());
        let name = own.to_str().map(|own| format!("{name}/{own}"));
        if let Some(why) = odd(name.as_deref()) {
            folder::notice(attempt, &format!("{shown} {why} and was not uploaded"));
            continue;
        }
        let Some(name) = name else { continue };
        if kind.is_dir() {
            walk(&entry.path(), &name, attempt, found)?;
        } else if kind.is_file() {
            found.push((entry.path(), name));
        } else {
            let what = if kind.is_symlink() { "a link" } else { "not a regular file" };
            folder::notice(attempt, &format!("{name} is {what} and was not uploaded; copy what it stands for"));
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
        patiently(node, || put(node, &path, &sha256)).await.map_err(|reason| format!("{name}: {reason}"))?;
        let attempt = attempt.order.attempt;
        artifacts.push(Artifact { path: name, sha256, size_bytes, attempt, superseded: false });
    }
    let request = RecordArtifactsRequest {
        workspace: attempt.order.workspace.clone(),
        run_id: attempt.order.run_id.clone(),
        attempt: attempt.order.attempt,
        artifacts,
    };
    patiently(node, || async {
        let server = node.link.server().await;
        let call = node.call().attach(request.clone());
        server.peers.runs_client().record_artifacts(call).await.map(drop)
    })
    .await
}

async fn patiently<T, F, A>(node: &Node, mut call: F) -> Result<T, String>
where
    F: FnMut() -> A,
    A: Future<Output = Result<T, tonic::Status>>,
{
    let mut backoff = Backoff::new(BACK_OFF_MIN, BACK_OFF_MAX);
    loop {
        match errors::of_runs(node, call().await).await {
            Ok(answer) => return Ok(answer),
            Err(Refusal::Skip(problem) | Refusal::Over(problem)) => return Err(problem.to_string()),
            Err(Refusal::Again) => tracing::warn!("an output is sent again"),
        }
        backoff.wait().await;
    }
}

/// Opens a file that was one when the folder was read: a link that has come since is not followed.
fn open(path: &Path) -> io::Result<fs::File> {
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    fs::OpenOptions::new().read(true).custom_flags(no_follow).open(path)
}

fn facts(path: &Path) -> io::Result<(String, u64)> {
    let (mut file, mut hash) = (open(path)?, Sha256::new());
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
        let mut file = open(&path)?;
        // The hash goes with the first chunk, which an empty file has too.
        let mut chunk = ObjectChunk { sha256, ..ObjectChunk::default() };
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

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    fn notices(attempt: &Path) -> String {
        fs::read_to_string(attempt.join(folder::NOTICES)).unwrap_or_default()
    }

    #[test]
    fn a_file_with_an_odd_name_is_left_out_and_the_others_stay() {
        // Once one such name had the whole request refused, and with it all outputs of the run.
        let attempt = tempfile::tempdir().unwrap();
        let root = attempt.path().join("outputs/model");
        fs::create_dir_all(root.join("sub")).unwrap();
        let odd = [OsStr::new("a\\b"), OsStr::new("new\nline"), OsStr::from_bytes(b"latin\xe9"), OsStr::new("\u{1f}")];
        for name in odd.iter().chain([&OsStr::new("good.bin"), &OsStr::new("sub/ä b")]) {
            fs::write(root.join(name), "x").unwrap();
        }
        let found = files_of(attempt.path(), &["model".to_owned()], None);
        let names: Vec<&str> = found.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["outputs/model/good.bin", "outputs/model/sub/ä b"]);
        let said = notices(attempt.path());
        assert_eq!(said.lines().count(), odd.len(), "{said}");
        assert!(said.contains("new\\nline has a control character") && said.contains("is not UTF-8"), "{said}");
    }

    #[test]
    fn a_link_in_the_place_of_an_output_folder_is_not_followed() {
        let (attempt, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(other.path().join("secret"), "x").unwrap();
        fs::create_dir_all(attempt.path().join("outputs/good")).unwrap();
        fs::write(attempt.path().join("outputs/good/a"), "x").unwrap();
        symlink(other.path(), attempt.path().join("outputs/model")).unwrap();
        let both = ["good".to_owned(), "model".to_owned()];
        let found = files_of(attempt.path(), &both, None);
        assert_eq!(found.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["outputs/good/a"]);
        assert!(notices(attempt.path()).contains("'model' cannot be read whole"), "{}", notices(attempt.path()));
        // Nor where all of them are.
        fs::rename(attempt.path().join("outputs"), attempt.path().join("before")).unwrap();
        symlink(attempt.path().join("before"), attempt.path().join("outputs")).unwrap();
        assert_eq!(files_of(attempt.path(), &both, None), []);
        // A file that has become a link since the folder was read is not opened.
        let (file, link) = (other.path().join("secret"), attempt.path().join("before/good/link"));
        symlink(&file, &link).unwrap();
        assert!(open(&file).is_ok() && open(&link).is_err());
    }
}
