//! Code and model files, fetched from runs by their content.

use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use contracts::CallContext;
use contracts::compute::ModelFile;
use contracts::runs::GetObjectRequest;
use runtime::Backoff;
use sha2::{Digest, Sha256};
use tokio_stream::StreamExt;

use super::places::Refused;
use crate::errors::{self, Refusal};
use crate::node::Node;

/// Packed code folders that a node keeps: the trials of a sweep share one.
const CODE_KEPT_MAX: usize = 32;
/// Waits between two tries while runs does not answer.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
/// So often something else comes whole than was asked for, before it is clear that no other try will bring it: what is
/// kept is damaged.
const DAMAGED_TRIES: u32 = 5;

/// The packed code, from the node's cache or fetched into it.
pub(super) async fn code(node: &Node, sha256: &str) -> anyhow::Result<Result<PathBuf, Refused>> {
    let cache = node.options.folder.join("code");
    fs::create_dir_all(&cache)?;
    if !is_hash(sha256) {
        return Ok(Err(Refused(format!("'{sha256}' is not a sha256 hash"))));
    }
    let path = cache.join(format!("{sha256}.tar"));
    if path.exists() {
        return Ok(Ok(path));
    }
    if let Err(refused) = fetch(node, sha256, &path).await? {
        return Ok(Err(refused));
    }
    drop_oldest(&cache, CODE_KEPT_MAX)?;
    Ok(Ok(path))
}

/// The files of a model, below `folder`.
pub(super) async fn model(node: &Node, files: &[ModelFile], folder: &Path) -> anyhow::Result<Result<(), Refused>> {
    for file in files {
        let relative = Path::new(&file.path);
        if !is_inner(relative) || !is_hash(&file.sha256) {
            return Ok(Err(Refused(format!("the model's file '{}' has no usable path or hash", file.path))));
        }
        let path = folder.join(relative);
        if path.exists() {
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        if let Err(refused) = fetch(node, &file.sha256, &path).await? {
            return Ok(Err(refused));
        }
    }
    Ok(Ok(()))
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Whether a path stays below the folder that it is joined to.
fn is_inner(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        && path.components().any(|part| matches!(part, Component::Normal(_)))
}

/// Fetches an object until it is here whole; patient with a server that is away, not with an object that is damaged.
async fn fetch(node: &Node, sha256: &str, path: &Path) -> anyhow::Result<Result<(), Refused>> {
    let mut backoff = Backoff::new(BACK_OFF_MIN, BACK_OFF_MAX);
    let mut damaged = 0;
    loop {
        // Two attempts may want the same object at the same time.
        let part = path.with_extension(format!("{}.part", node.options.entropy.uuid().simple()));
        let status = match fetch_once(node, sha256, &part).await {
            Ok(true) => return Ok(fs::rename(&part, path).map(Ok)?),
            Ok(false) => {
                damaged += 1;
                tonic::Status::data_loss("the content does not match its hash")
            }
            Err(Broken::Answer(status)) => {
                damaged += u32::from(contracts::problem_of(&status).code == "ObjectDamaged");
                status
            }
            Err(Broken::Disk(error)) => {
                let _ = fs::remove_file(&part);
                return Err(error.into());
            }
        };
        let _ = fs::remove_file(&part);
        let refused = errors::of_runs::<()>(node, Err(status.clone())).await;
        if let Err(Refusal::Skip(problem) | Refusal::Over(problem)) = refused {
            return Ok(Err(Refused(format!("object sha256:{sha256} cannot be fetched: {problem}"))));
        }
        if damaged >= DAMAGED_TRIES {
            return Ok(Err(Refused(format!(
                "object sha256:{sha256} is damaged where it is kept: {damaged} times what came was not it; put it \
                 again, then start the run anew"
            ))));
        }
        tracing::warn!(object.sha256 = sha256, "tried again: {status}");
        backoff.wait().await;
    }
}

enum Broken {
    Answer(tonic::Status),
    Disk(io::Error),
}

/// Whether what came has the hash.
async fn fetch_once(node: &Node, sha256: &str, part: &Path) -> Result<bool, Broken> {
    let server = node.link.server().await;
    let request = GetObjectRequest { sha256: sha256.to_owned(), ..GetObjectRequest::default() };
    let call = CallContext { command_id: None, ..node.call() };
    let answer = server.peers.runs_client().get_object(call.attach(request)).await.map_err(Broken::Answer)?;
    let (mut chunks, mut hash) = (answer.into_inner(), Sha256::new());
    let mut file = fs::File::create(part).map_err(Broken::Disk)?;
    while let Some(chunk) = chunks.next().await {
        let data = chunk.map_err(Broken::Answer)?.data;
        hash.update(&data);
        file.write_all(&data).map_err(Broken::Disk)?;
    }
    Ok(hex::encode(hash.finalize()) == sha256)
}

/// Keeps the newest entries of a folder.
fn drop_oldest(folder: &Path, kept: usize) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        })
        .collect();
    entries.sort();
    let surplus = entries.len().saturating_sub(kept);
    for (_, path) in entries.into_iter().take(surplus) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Unpacks a code folder. Nothing may be written outside of it.
pub(super) fn unpack(tar: &Path, folder: &Path) -> Result<(), Refused> {
    unpack_entries(tar, folder).map_err(|error| Refused(format!("the code cannot be unpacked: {error}")))
}

fn unpack_entries(tar: &Path, folder: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(io::BufReader::new(fs::File::open(tar)?));
    archive.set_preserve_mtime(false);
    // What the archive says about others' permissions does not hold here.
    archive.set_mask(0o077);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let kind = entry.header().entry_type();
        if kind.is_dir() && path.components().all(|part| part == Component::CurDir) {
            continue;
        }
        let is_known = kind.is_file() || kind.is_dir() || kind.is_symlink();
        // unpack_in also refuses to write through a link that leads out.
        if !is_inner(&path) || !is_known || !entry.unpack_in(folder)? {
            let text = format!("'{}' is not a file, folder or link below the code folder", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(folder: &Path, path: &str) -> PathBuf {
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        header.set_mode(0o644);
        // Set by hand: the builder itself refuses such paths.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, &b"hi"[..]).unwrap();
        let tar = folder.join("code.tar");
        fs::write(&tar, builder.into_inner().unwrap()).unwrap();
        tar
    }

    #[test]
    fn code_stays_in_its_folder() {
        // An uploaded archive must not be able to overwrite files of the node.
        let folder = tempfile::tempdir().unwrap();
        let work = folder.path().join("work");
        fs::create_dir(&work).unwrap();
        unpack(&packed(folder.path(), "a/b.txt"), &work).unwrap();
        assert_eq!(fs::read_to_string(work.join("a/b.txt")).unwrap(), "hi");
        for path in ["../out.txt", "/out.txt", "a/../../out.txt"] {
            let refused = unpack(&packed(folder.path(), path), &work).unwrap_err();
            assert!(refused.0.contains("out.txt"), "{refused:?}");
        }
        assert!(!folder.path().join("out.txt").exists());
    }
}
