//! Packs a code folder into a sorted tar without times and owners, so that the same files have the same hash, and
//! uploads it.

use std::path::{Path, PathBuf};

use documents::Tree;
use reqwest::Method;
use reqwest::header::CONTENT_LENGTH;
use sha2::{Digest, Sha256};
use vocabulary::Problem;

use super::document::{self, Document};
use super::http::Body;
use super::{Client, Failure, script};

/// Names that are never part of the code.
const LEFT_OUT: [&str; 7] = [".git", ".venv", "venv", "__pycache__", "node_modules", "trialog-data", ".trialog.toml"];
/// The largest code folder: it is read into memory and travels to every node.
const CODE_BYTES_MAX: u64 = 256 << 20;

/// Packs and uploads; the answer is `sha256:<hash>`.
pub async fn upload(client: &Client, folder: &Path) -> Result<String, Failure> {
    let bytes = pack(folder)?;
    let hash = hex::encode(Sha256::digest(&bytes));
    let path = format!("objects/sha256:{hash}");
    let full = format!("/workspaces/{}/{path}", super::http::encoded(client.workspace()));
    let answer = client.open(Method::HEAD, &full, &Body::None).await.ok();
    let kept = answer.and_then(|answer| answer.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse::<usize>().ok());
    // One that was cut short is replaced.
    if kept != Some(bytes.len()) {
        client.send(Method::PUT, &path, &Body::Text("application/octet-stream", bytes)).await?;
    }
    Ok(format!("sha256:{hash}"))
}

/// A run's document whose `job.code` is a folder: packed and uploaded, its hash stands there instead.
pub async fn with_job_code(client: &Client, file: &Path) -> Result<Document, Failure> {
    let mut document = document::read(file)?;
    let code = document.text("job.code").map(|code| document.folder.join(code));
    for warning in script::warnings(&document, "job", code.as_deref()) {
        eprintln!("warning: {} ({})", warning.message, warning.code);
    }
    let missing = code.and_then(|code| script::missing_requirements(&document, "job.requirements_file", &code, names));
    if let Some(missing) = missing {
        return Err(Failure::Refused(Box::new(Problem::of_errors(422, vec![missing]))));
    }
    if let Some(folder) = document.take("job.code") {
        let Tree::Text(folder) = folder.value else {
            return Err(Failure::Usage(format!("{}: job.code: expected the path of a folder", file.display())));
        };
        let hash = upload(client, &document.folder.join(folder)).await?;
        let digits = hash.trim_start_matches("sha256:").to_owned();
        document.set("job.code_sha256", Tree::Text(digits))?;
    }
    Ok(document)
}

fn pack(folder: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |path: &Path, error: std::io::Error| Failure::Usage(format!("code {}: {error}", path.display()));
    let mut files = Vec::new();
    collect(folder, &mut files).map_err(|error| failed(folder, error))?;
    files.sort();
    let mut tar = tar::Builder::new(Vec::new());
    let mut total = 0;
    for path in files {
        let name = path.strip_prefix(folder).unwrap_or(&path);
        let bytes = std::fs::read(&path).map_err(|error| failed(&path, error))?;
        total += bytes.len() as u64;
        if total > CODE_BYTES_MAX {
            let limit = CODE_BYTES_MAX >> 20;
            return Err(Failure::Usage(format!(
                "code {} has more than {limit} MiB; put data elsewhere and name it in inputs",
                folder.display()
            )));
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(if is_executable(&path) { 0o755 } else { 0o644 });
        header.set_mtime(0);
        tar.append_data(&mut header, name, bytes.as_slice()).map_err(|error| failed(&path, error))?;
    }
    tar.into_inner().map_err(|error| failed(folder, error))
}

/// The files that go along, as paths in the code; none of a folder that cannot be read.
pub fn names(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    if collect(folder, &mut files).is_err() {
        return Vec::new();
    }
    files.sort();
    let inner = files.iter().filter_map(|path| path.strip_prefix(folder).ok());
    inner.map(|path| path.to_string_lossy().into_owned()).collect()
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|facts| facts.permissions().mode() & 0o100 != 0)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if LEFT_OUT.contains(&name.as_str()) || name.ends_with(".pyc") {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_have_the_same_hash() {
        // Lineage names the code by this hash: a time inside would make every upload another code.
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("__pycache__")).unwrap();
        for (name, text) in [("b.py", "2"), ("a.py", "1"), ("__pycache__/x.pyc", "3")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let first = pack(folder.path()).unwrap();
        std::fs::write(folder.path().join("a.py"), "1").unwrap();
        assert_eq!(first, pack(folder.path()).unwrap());
        let mut archive = tar::Archive::new(first.as_slice());
        let names: Vec<_> =
            archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names, ["a.py", "b.py"]);
    }
}
