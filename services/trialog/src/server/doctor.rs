//! `trialog doctor`: what is in force, whether the data folder is sound, and whether its machine is.

use std::path::{Path, PathBuf};

use runtime::process::Identity;
use serde_json::{Value, json};

use super::checks::{self, Check, State};
use super::{contents, databases, settings};
use crate::client::stdout::line;

/// Flags of `trialog doctor`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The data folder.
    #[arg(long, default_value = "./trialog-data", env = "TRIALOG_DATA")]
    data: PathBuf,
    /// A TOML file.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Leave out reading every object's content: look only whether it is there with its size.
    #[arg(long)]
    skip_contents: bool,
}

/// Prints the configuration in force, what is wrong with the data folder, and what its machine lacks. Reads every
/// database and every object whole; a server may run meanwhile.
///
/// # Errors
/// When anything is wrong with the folder, or keeps a server from working.
pub async fn doctor(arguments: Arguments, is_json: bool) -> anyhow::Result<()> {
    let settings = settings::load(arguments.config.as_deref())?;
    let root = arguments.data;
    let exists = root.exists();
    let server = announced(&root);
    let (mut faults, mut processes) = (Vec::new(), Vec::new());
    if exists {
        let stores = settings.store.stores(&root)?;
        processes = databases::processes(&stores).await;
        faults = databases::faults(&root, &stores).await?;
        faults.extend(contents::faults(&root, &stores, !arguments.skip_contents).await);
    }
    let pid = server["pid"].as_i64().filter(|_| server["lives"] == true).and_then(|pid| i32::try_from(pid).ok());
    let checks = checks::all(&root, &settings, pid);
    if is_json {
        let folder = json!({
            "path": root, "exists": exists, "server": server, "faults": faults, "processes": processes
        });
        line(&json!({"configuration": settings, "data_folder": folder, "checks": checks}).to_string());
    } else {
        line(&format!("# configuration in force\n{}", toml::to_string_pretty(&settings)?));
        line(&format!("# data folder {}", root.display()));
        match (exists, &server) {
            (false, _) => line("does not exist yet; `trialog up` makes it"),
            (true, Value::Null) => line("no server is announced"),
            (true, server) => line(&in_words(server)),
        }
        processes.iter().for_each(|process| line(process));
        faults.iter().for_each(|fault| line(&format!("wrong: {fault}")));
        if exists && faults.is_empty() {
            line("the databases and the objects are sound");
        }
        line("# machine");
        checks.iter().for_each(|check| line(&check.to_string()));
    }
    verdict(&root, faults.len(), &checks)
}

fn verdict(root: &Path, faults: usize, checks: &[Check]) -> anyhow::Result<()> {
    let counted = |count: usize| format!("{count} {}", if count == 1 { "fault" } else { "faults" });
    let wrong = checks.iter().filter(|check| check.state == State::Wrong).count();
    match (faults, wrong) {
        (0, 0) => Ok(()),
        (0, wrong) => anyhow::bail!("{} of the machine; what to do is said with each", counted(wrong)),
        (faults, _) => {
            anyhow::bail!("{} in {}; put what is damaged back from a backup", counted(faults), root.display())
        }
    }
}

/// The server that the folder announces, and whether it lives; null when there is none.
fn announced(root: &Path) -> Value {
    let Ok(text) = std::fs::read_to_string(root.join("run/server.json")) else { return Value::Null };
    let facts: Value = serde_json::from_str(&text).unwrap_or_default();
    let lives = serde_json::from_value::<Identity>(facts.clone()).is_ok_and(Identity::lives);
    json!({"url": facts["url"], "pid": facts["pid"], "lives": lives})
}

fn in_words(server: &Value) -> String {
    let (url, pid) = (server["url"].as_str().unwrap_or("an unknown address"), &server["pid"]);
    match server["lives"].as_bool() {
        Some(true) => format!("a server runs at {url} (process {pid})"),
        _ => {
            format!("a server announced itself at {url} (process {pid}) and is gone: it was killed, or its machine was")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_was_killed_is_not_said_to_run() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(announced(folder.path()), Value::Null);
        std::fs::create_dir(folder.path().join("run")).unwrap();
        let own = Identity::own().unwrap();
        for (start, lives) in [(own.start, true), (own.start - 1, false)] {
            let facts = json!({"pid": own.pid, "start": start, "url": "http://127.0.0.1:1"});
            std::fs::write(folder.path().join("run/server.json"), facts.to_string()).unwrap();
            let server = announced(folder.path());
            assert_eq!(server["lives"], lives, "{server}");
            assert_eq!(in_words(&server).contains("gone"), !lives);
        }
    }
}
