//! Packs a code folder into a sorted tar without times and owners, so that the same files have the same hash, and
//! uploads it.

mod files;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use documents::Tree;
use reqwest::Method;
use reqwest::header::CONTENT_LENGTH;
use sha2::{Digest, Sha256};
use vocabulary::{FieldError, Problem};

use self::files::{CodeFile, Files, failed};
use super::document::{self, Document};
use super::http::Body;
use super::{Client, Failure, script, stderr};

/// What an archive has for a file beside its bytes: a header, and what fills its last block.
const BLOCKS: u64 = 1024;

/// Packs and uploads; the answer is `sha256:<hash>`, with what did not go along.
pub async fn upload(client: &Client, folder: &Path) -> Result<(String, Vec<FieldError>), Failure> {
    let files = Files::of(folder)?;
    let bytes = pack(folder, &files)?;
    let hash = hex::encode(Sha256::digest(&bytes));
    let path = format!("objects/sha256:{hash}");
    let full = format!("/workspaces/{}/{path}", super::http::encoded(client.workspace()));
    let answer = client.open(Method::HEAD, &full, &Body::None).await.ok();
    let kept = answer.and_then(|answer| answer.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse::<usize>().ok());
    // One that was cut short is replaced.
    if kept != Some(bytes.len()) {
        client.send(Method::PUT, &path, &Body::Text("application/octet-stream", bytes)).await?;
    }
    Ok((format!("sha256:{hash}"), files.warnings))
}

/// A run's document whose `job.code` is a folder: packed and uploaded, its hash stands there instead.
pub async fn with_job_code(client: &Client, file: &Path) -> Result<Document, Failure> {
    let mut document = document::read(file)?;
    let code = document.text("job.code").map(|code| document.folder.join(code));
    warn(&script::warnings(&document, "job", code.as_deref()));
    let missing = code.and_then(|code| {
        let mut paths = ["job.environment.requirements", "job.requirements_file"].into_iter();
        paths.find_map(|path| script::missing_requirements(&document, path, &code, names))
    });
    if let Some(missing) = missing {
        return Err(Failure::Refused(Box::new(Problem::of_errors(422, vec![missing]))));
    }
    if let Some(folder) = document.take("job.code") {
        let Tree::Text(folder) = folder.value else {
            return Err(Failure::Usage(format!("{}: job.code: expected the path of a folder", file.display())));
        };
        let (hash, left_out) = upload(client, &document.folder.join(folder)).await?;
        warn(&left_out);
        let digits = hash.trim_start_matches("sha256:").to_owned();
        document.set("job.code_sha256", Tree::Text(digits))?;
    }
    Ok(document)
}

fn warn(warnings: &[FieldError]) {
    warnings.iter().for_each(|warning| stderr::warning(&warning.message, &warning.code));
}

fn pack(folder: &Path, files: &Files) -> Result<Vec<u8>, Failure> {
    let size = files.size(folder)? + BLOCKS * files.files.len() as u64;
    let mut tar = tar::Builder::new(Vec::with_capacity(usize::try_from(size).unwrap_or_default()));
    for (name, file) in &files.files {
        append(&mut tar, name, file).map_err(|error| failed(&folder.join(name), &error))?;
    }
    tar.into_inner().map_err(|error| failed(folder, &error))
}

/// Reads a file into the archive, as many bytes as it had when it was looked at.
fn append(tar: &mut tar::Builder<Vec<u8>>, name: &Path, file: &CodeFile) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(file.size);
    header.set_mode(if file.is_executable { 0o755 } else { 0o644 });
    header.set_mtime(0);
    let mut bytes = File::open(&file.source)?.take(file.size);
    tar.append_data(&mut header, name, &mut bytes)?;
    match bytes.limit() {
        0 => Ok(()),
        _ => Err(std::io::Error::other("it became shorter while it was packed; submit again")),
    }
}

/// The files that go along, as paths in the code; none of a folder that cannot be packed.
pub fn names(folder: &Path) -> Vec<String> {
    let found = Files::of(folder).unwrap_or_default();
    found.files.keys().map(|path| path.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(folder: &Path) -> Vec<u8> {
        pack(folder, &Files::of(folder).unwrap()).unwrap()
    }

    #[test]
    fn the_same_files_have_the_same_hash() {
        // Lineage names the code by this hash: a time inside would make every upload another code.
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("__pycache__")).unwrap();
        for (name, text) in [("b.py", "2"), ("a.py", "1"), ("__pycache__/x.pyc", "3")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let first = packed(folder.path());
        std::fs::write(folder.path().join("a.py"), "1").unwrap();
        assert_eq!(first, packed(folder.path()));
        let mut archive = tar::Archive::new(first.as_slice());
        let names: Vec<_> =
            archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names, ["a.py", "b.py"]);
    }

    #[test]
    fn a_file_that_becomes_shorter_while_it_is_packed_is_no_broken_archive() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("log"), "long").unwrap();
        let files = Files::of(folder.path()).unwrap();
        std::fs::write(folder.path().join("log"), "l").unwrap();
        let Failure::Usage(text) = pack(folder.path(), &files).unwrap_err() else { panic!("another failure") };
        assert!(text.ends_with("log: it became shorter while it was packed; submit again"), "{text}");
    }
}
