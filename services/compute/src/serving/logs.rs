//! What replicas write, kept by deployment: two files that take turns, so that a chatty model cannot fill the disk.

use std::io::{self, SeekFrom};
use std::path::PathBuf;

use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::Mutex;

/// Bytes of each of the two files: 1 MiB a deployment in all.
const FILE_BYTES_MAX: u64 = 512 << 10;
/// Lines that are shown when nobody says how many.
const LINES_DEFAULT: usize = 100;

/// The logs of all deployments.
pub(crate) struct ReplicaLogs {
    folder: PathBuf,
    /// The source that wrote last, by file; also keeps writers from mixing.
    last: Mutex<std::collections::BTreeMap<PathBuf, String>>,
}

impl ReplicaLogs {
    /// Logs below a folder, which is made when the first line comes.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, last: Mutex::default() }
    }

    /// Names of workspaces, endpoints and deployments are letters, digits, `-` and `_`: none leads out of the folder.
    fn file(&self, workspace: &str, endpoint: &str, deployment: &str) -> PathBuf {
        self.folder.join(workspace).join(endpoint).join(format!("{deployment}.log"))
    }

    /// Adds what a replica has written; a line in between says when another one goes on.
    pub(crate) async fn append(
        &self,
        workspace: &str,
        endpoint: &str,
        deployment: &str,
        source: &str,
        data: &[u8],
    ) -> io::Result<()> {
        let path = self.file(workspace, endpoint, deployment);
        let mut last = self.last.lock().await;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).await?;
        }
        if fs::metadata(&path).await.is_ok_and(|facts| facts.len() >= FILE_BYTES_MAX) {
            fs::rename(&path, path.with_extension("log.1")).await?;
        }
        let mut file = OpenOptions::new().append(true).create(true).open(&path).await?;
        if last.get(&path).is_none_or(|before| before != source) {
            file.write_all(format!("==> {source} <==\n").as_bytes()).await?;
            last.insert(path, source.to_owned());
        }
        let kept = data.len().min(FILE_BYTES_MAX as usize);
        file.write_all(&data[data.len() - kept..]).await?;
        file.flush().await
    }

    /// The last lines; 0 = the default number.
    pub(crate) async fn tail(
        &self,
        workspace: &str,
        endpoint: &str,
        deployment: &str,
        lines: usize,
    ) -> io::Result<String> {
        let path = self.file(workspace, endpoint, deployment);
        let mut bytes = Vec::new();
        for path in [path.with_extension("log.1"), path] {
            match File::open(&path).await {
                Ok(mut file) => {
                    let length = file.metadata().await?.len();
                    file.seek(SeekFrom::Start(length.saturating_sub(2 * FILE_BYTES_MAX))).await?;
                    file.read_to_end(&mut bytes).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().collect();
        let wanted = if lines == 0 { LINES_DEFAULT } else { lines };
        Ok(all[all.len().saturating_sub(wanted)..].iter().map(|line| format!("{line}\n")).collect())
    }

    /// Forgets the log of a deployment that is gone.
    pub(crate) async fn remove(&self, workspace: &str, endpoint: &str, deployment: &str) {
        let path = self.file(workspace, endpoint, deployment);
        self.last.lock().await.remove(&path);
        for path in [path.with_extension("log.1"), path] {
            // Not there is what is wanted.
            let _ = fs::remove_file(path).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_is_bounded_and_shows_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let logs = ReplicaLogs::new(folder.path().to_path_buf());
        assert_eq!(logs.tail("w", "e", "blue", 5).await.unwrap(), "");
        for line in 0..30 {
            let text = format!("{line} {}\n", "x".repeat(50_000));
            logs.append("w", "e", "blue", "job_1 attempt 1", text.as_bytes()).await.unwrap();
        }
        logs.append("w", "e", "blue", "job_2 attempt 1", b"loaded\nready\n").await.unwrap();
        assert_eq!(logs.tail("w", "e", "blue", 3).await.unwrap(), "==> job_2 attempt 1 <==\nloaded\nready\n");
        let bytes: u64 = std::fs::read_dir(folder.path().join("w/e"))
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum();
        assert!(bytes < 2 * FILE_BYTES_MAX + 100_000, "{bytes}");
        logs.remove("w", "e", "blue").await;
        assert_eq!(logs.tail("w", "e", "blue", 5).await.unwrap(), "");
    }
}
