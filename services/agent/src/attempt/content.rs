//! Code and model files, fetched from runs by their content.

use std::collections::HashSet;
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

/// Bytes of a path on Linux, and folders in one: far more than any code has, and few enough to be made at once.
const PATH_BYTES_MAX: usize = 4_096;
const DEPTH_MAX: usize = 128;
/// Bytes of one name in a folder.
const NAME_BYTES_MAX: usize = 255;
/// Characters of a path that is no use, in what is told of it.
const SHOWN_MAX: usize = 100;

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
    if let Err(refused) = check(files, folder) {
        return Ok(Err(refused));
    }
    for file in files {
        let relative = Path::new(&file.path);
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

/// Whether files can lie beside each other below a folder: what no disk takes is not tried again for ever.
fn check(files: &[ModelFile], folder: &Path) -> Result<(), Refused> {
    let plain = |file: &ModelFile| -> PathBuf {
        Path::new(&file.path).components().filter(|part| *part != Component::CurDir).collect()
    };
    let all: HashSet<PathBuf> = files.iter().map(plain).collect();
    for file in files {
        let path = &*plain(file);
        let refused = |why: &str| Err(Refused(format!("the model's file '{}' {why}", shown(path))));
        if !is_inner(path) || file.path.contains('\0') || !is_hash(&file.sha256) {
            return refused("has no usable path or hash");
        }
        if let Some(why) = too_long(path, folder) {
            return refused(&why);
        }
        if let Some(other) = path.ancestors().skip(1).find(|folder| all.contains(*folder)) {
            return refused(&format!("lies below '{}', which is a file too; name one of them otherwise", shown(other)));
        }
    }
    Ok(())
}

/// Why no file can have a path below a folder, if so.
fn too_long(path: &Path, folder: &Path) -> Option<String> {
    let bytes = folder.join(path).as_os_str().len();
    let depth = path.components().count();
    let name = path.components().map(|part| part.as_os_str().len()).max().unwrap_or_default();
    if bytes >= PATH_BYTES_MAX || depth > DEPTH_MAX {
        return Some(format!(
            "is {depth} folders deep and its path has {bytes} bytes; allowed are {DEPTH_MAX} folders and fewer than \
             {PATH_BYTES_MAX} bytes"
        ));
    }
    (name > NAME_BYTES_MAX).then(|| format!("has a name of {name} bytes, limit {NAME_BYTES_MAX}"))
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().take(SHOWN_MAX).collect()
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
        // Its own name, which may be as long as names can be, is not made longer.
        let part = path.with_file_name(format!(".{}.part", node.options.entropy.uuid().simple()));
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
    // All of them before anything is written: folders within folders by the thousand take minutes to make.
    for entry in tar::Archive::new(fs::File::open(tar)?).entries_with_seek()? {
        let entry = entry?;
        let path = entry.path()?;
        if let Some(why) = too_long(&path, folder) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("'{}' {why}", shown(&path))));
        }
    }
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

    #[test]
    fn files_of_a_model_that_no_disk_takes_are_refused() {
        // Their deployment was being created for ever.
        let files = |paths: &[&str]| -> Vec<ModelFile> {
            let file = |path: &&str| ModelFile { path: (*path).into(), sha256: "a".repeat(64), size_bytes: 1 };
            paths.iter().map(file).collect()
        };
        let refused = |paths: &[&str]| check(&files(paths), Path::new("/m")).err().map(|Refused(why)| why);
        assert_eq!(refused(&["a", "b/a", "b/c", &"x".repeat(255)]), None);
        for paths in [["a", "a/b"], ["a/b/c", "./a"]] {
            assert!(refused(&paths).is_some_and(|why| why.contains("which is a file too")), "{paths:?}");
        }
        assert!(refused(&[&"x".repeat(300)]).is_some_and(|why| why.contains("300 bytes, limit 255")));
        assert!(refused(&["a\0b"]).is_some_and(|why| why.contains("no usable path")));
    }

    #[test]
    fn a_path_that_no_folder_holds_is_refused_before_anything_is_written() {
        // One path of 2,100 folders took minutes.
        let folder = tempfile::tempdir().unwrap();
        let work = folder.path().join("work");
        fs::create_dir(&work).unwrap();
        for path in ["a/".repeat(2_100) + "b", format!("{0}/{0}/b", "a".repeat(2_100))] {
            let mut builder = tar::Builder::new(Vec::new());
            for path in ["first", &path] {
                let mut header = tar::Header::new_gnu();
                header.set_size(2);
                header.set_mode(0o644);
                builder.append_data(&mut header, path, &b"hi"[..]).unwrap();
            }
            let tar = folder.path().join("code.tar");
            fs::write(&tar, builder.into_inner().unwrap()).unwrap();
            let refused = unpack(&tar, &work).unwrap_err();
            assert!(refused.0.contains("folders deep") && refused.0.len() < 500, "{refused:?}");
            assert_eq!(fs::read_dir(&work).unwrap().count(), 0);
        }
    }
}
