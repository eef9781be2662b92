//! The data folder: its layout, its lock and its secrets.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use vocabulary::Entropy;

use super::private;

/// What the server makes in its folder: what is looked at at each start, and what may be large.
const SMALL: [&str; 4] = ["db", "run", "admin.token", "signing.key"];
const LARGE: [&str; 5] = ["objects", "nodes", "checkpoints", "environments", "endpoint-logs"];

/// A data folder that this process alone writes.
#[derive(Debug)]
pub struct DataFolder {
    root: PathBuf,
    /// Held until the process ends.
    _lock: File,
}

impl DataFolder {
    /// Makes the folder and takes its lock.
    ///
    /// # Errors
    /// When the folder cannot be made or another server holds it.
    pub fn open(root: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("the data folder {}", root.display()))?;
        let root = root.canonicalize().with_context(|| format!("the data folder {}", root.display()))?;
        for folder in ["db", "run"].iter().chain(&LARGE) {
            fs::create_dir_all(root.join(folder)).with_context(|| format!("{}/{folder}", root.display()))?;
        }
        private::tighten(&root, &SMALL, &LARGE)?;
        let path = root.join("run/lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            let shown = root.display();
            anyhow::anyhow!("another trialog server uses {shown}; stop it, or name another folder with --data")
        })?;
        let folder = Self { root, _lock: lock };
        // A server that was killed has left its own; by now its number may be anybody's.
        folder.withdraw();
        Ok(folder)
    }

    /// The folder's absolute path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the gRPC services listen for agents.
    pub fn socket(&self) -> PathBuf {
        self.root.join("run/trialog.sock")
    }

    /// The admin's token, and whether it was made just now.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn admin_token(&self, entropy: &dyn Entropy) -> anyhow::Result<(String, bool)> {
        let path = self.root.join("admin.token");
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => Ok((text.trim().to_owned(), false)),
            _ => {
                let text = workspaces::new_token_text(entropy);
                replace(&path, text.as_bytes())?;
                Ok((text, true))
            }
        }
    }

    /// The key that run tokens are signed with.
    ///
    /// # Errors
    /// When the file cannot be read or written, or does not hold 32 bytes.
    pub fn signing_key(&self, entropy: &dyn Entropy) -> anyhow::Result<[u8; 32]> {
        signing_key(&self.root.join("signing.key"), entropy)
    }

    /// Tells clients on this machine where the server is.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn announce(&self, url: &str, ca_file: Option<&Path>) -> anyhow::Result<()> {
        let own = runtime::process::Identity::own()?;
        let facts = serde_json::json!({ "pid": own.pid, "start": own.start, "url": url, "ca_file": ca_file });
        replace(&self.root.join("run/server.json"), facts.to_string().as_bytes())
    }

    /// Takes the announcement back.
    pub fn withdraw(&self) {
        let _ = fs::remove_file(self.root.join("run/server.json"));
        let _ = fs::remove_file(self.socket());
    }
}

/// Reads a signing key, or makes one.
///
/// # Errors
/// When the file cannot be read or written, or does not hold 32 bytes in hex.
pub fn signing_key(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<[u8; 32]> {
    if !path.exists() {
        let mut key = [0; 32];
        entropy.fill(&mut key);
        replace(path, hex::encode(key).as_bytes())?;
    }
    let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim(), &mut key)
        .with_context(|| format!("{} must hold 64 hexadecimal digits", path.display()))?;
    Ok(key)
}

/// Writes a file whole or not at all; for the owner only, whatever the umask is.
pub fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vocabulary::SeededEntropy;

    #[test]
    fn a_folder_has_one_server_and_keeps_its_secrets() {
        // Two servers on one folder would corrupt it; a new token at each start would lock clients out.
        let folder = tempfile::tempdir().unwrap();
        let first = DataFolder::open(folder.path()).unwrap();
        assert!(DataFolder::open(folder.path()).unwrap_err().to_string().contains("another trialog server"));
        let entropy = SeededEntropy::new(1);
        let (token, new) = first.admin_token(&entropy).unwrap();
        assert!(new && token.starts_with("tlg_"));
        assert_eq!(first.admin_token(&entropy).unwrap(), (token, false));
        assert_eq!(first.signing_key(&entropy).unwrap(), first.signing_key(&entropy).unwrap());
        drop(first);
        assert!(DataFolder::open(folder.path()).is_ok());
    }

    #[test]
    fn the_announcement_of_a_server_that_was_killed_is_not_taken_for_that_of_the_next() {
        // `trialog down` while a server starts would end whoever has the number of the one before.
        let folder = tempfile::tempdir().unwrap();
        let killed = DataFolder::open(folder.path()).unwrap();
        killed.announce("http://127.0.0.1:1", None).unwrap();
        drop(killed);
        assert!(folder.path().join("run/server.json").exists(), "nobody has taken it back");
        let next = DataFolder::open(folder.path()).unwrap();
        assert!(!folder.path().join("run/server.json").exists());
        drop(next);
    }
}
