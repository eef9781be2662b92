//! `trialog artifact` and `trialog run download`: files of runs.

use std::path::{Component, Path, PathBuf};

use clap::{Args, Subcommand};
use futures_util::StreamExt;
use reqwest::{Method, StatusCode};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::http::{Body, Patience, encoded};
use super::output::{self, Format, List, View, column, entries, field};
use super::{Client, Failure, resolve};

/// Verbs of artifacts.
#[derive(Subcommand)]
pub enum Artifact {
    /// List a run's artifacts.
    List {
        /// The run: its id, the beginning of it, SWEEP/INDEX or SWEEP/best.
        run: String,
        /// Only this file or folder.
        #[arg(long, default_value = "")]
        path: String,
        #[command(flatten)]
        view: View,
    },
    /// Download a run's artifacts.
    Download(Download),
    /// Store a file as an artifact of a run.
    Upload {
        /// The run: its id, the beginning of it, SWEEP/INDEX or SWEEP/best.
        run: String,
        /// The file.
        file: PathBuf,
        /// Its path in the run; default: the file's name.
        #[arg(long)]
        path: Option<String>,
    },
}

/// Arguments of `trialog run download`.
#[derive(Args)]
pub struct Download {
    /// The run: its id, the beginning of it, SWEEP/INDEX or SWEEP/best.
    run: String,
    /// The folder is given with --to.
    #[arg(hide = true, value_name = "FOLDER", conflicts_with = "to")]
    folder: Option<PathBuf>,
    /// Only this file or folder, e.g. outputs/model
    #[arg(long, default_value = "")]
    path: String,
    /// The folder to write into; default: one that is called as the run's id.
    #[arg(long)]
    to: Option<PathBuf>,
    /// Write over files that are there and differ.
    #[arg(long)]
    force: bool,
}

/// Runs a verb.
pub async fn artifact(client: &Client, command: Artifact) -> Result<(), Failure> {
    match command {
        Artifact::List { run, path, view } => list(client, &run, &path, &view).await,
        Artifact::Download(wanted) => download(client, wanted).await,
        Artifact::Upload { run, file, path } => upload(client, &run, &file, path).await,
    }
}

/// Lists a run's artifacts.
pub async fn list(client: &Client, run: &str, prefix: &str, view: &View) -> Result<(), Failure> {
    let run = resolve::run(client, run).await?;
    let path = format!("runs/{}/artifacts?prefix={}", encoded(&run), encoded(prefix));
    let artifacts = client.get_all(&path, "artifacts").await?;
    let columns = vec![
        column("path"),
        column("size").at("size_bytes").bytes(),
        column("attempt").wide(),
        column("sha256").wide(),
    ];
    output::list(client, &artifacts, List::new("artifacts", columns), view)
}

async fn upload(client: &Client, run: &str, file: &Path, path: Option<String>) -> Result<(), Failure> {
    let shown = file.display();
    let bytes = std::fs::read(file).map_err(|error| Failure::Usage(format!("{shown}: {error}")))?;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
    let Some(path) = path.or(name) else {
        return Err(Failure::Usage(format!("{shown} has no name: give its --path in the run")));
    };
    let run = resolve::run(client, run).await?;
    let there = format!("runs/{}/artifacts/{}", encoded(&run), parts(&path));
    let answer = client.send(Method::PUT, &there, &Body::Text("application/octet-stream", bytes)).await?;
    output::thing_called(client, &answer, &path);
    Ok(())
}

/// A path whose parts are encoded one by one.
fn parts(path: &str) -> String {
    path.split('/').map(encoded).collect::<Vec<_>>().join("/")
}

/// Downloads what is there; a file that is the same already is left as it is.
pub async fn download(client: &Client, wanted: Download) -> Result<(), Failure> {
    if let Some(folder) = &wanted.folder {
        let shown = folder.display();
        return Err(Failure::Usage(format!(
            "one word too much, {shown}: write --to {shown} for the folder to write into, or --path {shown} for a part \
             of the run"
        )));
    }
    let run = resolve::run(client, &wanted.run).await?;
    let path = format!("runs/{}/artifacts?prefix={}", encoded(&run), encoded(&wanted.path));
    let found = client.get_all(&path, "artifacts").await?;
    let files: Vec<(String, String)> =
        entries(&found, "artifacts").map(|file| (field(file, "path"), field(file, "sha256"))).collect();
    if files.is_empty() {
        let what =
            if wanted.path.is_empty() { "no artifacts".to_owned() } else { format!("nothing at {}", wanted.path) };
        return Err(Failure::BadNews(format!("{run} has {what}")));
    }
    let folder = wanted.to.unwrap_or_else(|| PathBuf::from(&run));
    let targets: Result<Vec<PathBuf>, Failure> = files.iter().map(|(path, _)| below(&folder, path)).collect();
    let files: Vec<_> = files.into_iter().zip(targets?).collect();
    for ((path, sha256), target) in &files {
        match std::fs::read(target) {
            Ok(bytes) if hex::encode(Sha256::digest(&bytes)) == *sha256 => continue,
            Ok(_) if !wanted.force => {
                let shown = target.display();
                return Err(Failure::Usage(format!("{shown} is there and is another file: --force writes over it")));
            }
            _ => fetch(client, &format!("runs/{}/artifacts/{}", encoded(&run), parts(path)), sha256, target).await?,
        }
    }
    let mut answer = found;
    answer["folder"] = folder.display().to_string().into();
    let written = files.iter().map(|(_, target)| target.display().to_string()).collect::<Vec<_>>();
    match client.format() {
        Format::Name => output::lines(&written),
        Format::Csv => {
            let columns = ["path", "size_bytes", "sha256"].map(column);
            return output::list(client, &answer, List::new("artifacts", columns.into()), &View::default());
        }
        _ => output::describe(client, &answer, || written),
    }
    Ok(())
}

/// Where a file goes; its path must lead down.
fn below(folder: &Path, path: &str) -> Result<PathBuf, Failure> {
    let relative = Path::new(path);
    if relative.components().all(|part| matches!(part, Component::Normal(_))) {
        Ok(folder.join(relative))
    } else {
        Err(Failure::BadNews(format!("the artifact {path:?} would be written outside of {}", folder.display())))
    }
}

/// Fetches a file beside its place, and puts it there once it is whole. After a cut it goes on where it was.
async fn fetch(client: &Client, path: &str, sha256: &str, target: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Usage(format!("{}: {error}", target.display()));
    std::fs::create_dir_all(target.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    let part = target.with_added_extension("part");
    let mut file = tokio::fs::File::create(&part).await.map_err(failed)?;
    let (mut hash, mut seen, mut patience) = (Sha256::new(), 0_u64, Patience::new());
    'whole: loop {
        let range = (seen > 0).then(|| ("Range", format!("bytes={seen}-")));
        let answer = match client.stream(path, range).await {
            Ok(answer) => answer,
            Err(failure) => {
                patience.wait(failure).await?;
                continue;
            }
        };
        if seen > 0 && answer.status() != StatusCode::PARTIAL_CONTENT {
            return Err(Failure::BadNews(format!("{path} was cut, and the server does not go on in the middle")));
        }
        let mut stream = answer.bytes_stream();
        while let Some(bytes) = stream.next().await {
            let bytes = match bytes {
                Ok(bytes) => bytes,
                Err(error) => {
                    patience.wait(client.gone(&error)).await?;
                    continue 'whole;
                }
            };
            patience = Patience::new();
            hash.update(&bytes);
            seen += bytes.len() as u64;
            file.write_all(&bytes).await.map_err(failed)?;
        }
        break;
    }
    file.sync_all().await.map_err(failed)?;
    if hex::encode(hash.finalize()) != sha256 {
        return Err(Failure::BadNews(format!("{path} came broken: its content is not what its hash says")));
    }
    std::fs::rename(&part, target).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_below_its_folder_only() {
        // The names are the training program's: `../../.bashrc` must not be one.
        let folder = Path::new("here");
        assert_eq!(below(folder, "outputs/model/a b.txt").ok(), Some(folder.join("outputs/model/a b.txt")));
        for path in ["../x", "/etc/passwd", "a/../../x"] {
            assert!(matches!(below(folder, path), Err(Failure::BadNews(_))), "{path}");
        }
        assert_eq!(parts("outputs/a b/c%"), "outputs/a%20b/c%25");
    }
}
