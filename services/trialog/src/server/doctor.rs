//! `trialog doctor`: what is in force, whether the data folder is sound, and whether its machine is.

use std::path::{Path, PathBuf};

use runtime::process::Identity;
use serde_json::{Value, json};

use super::checks::{self, Check, State};
use super::{contents, databases, logs, settings};
use crate::client::output::{Format, document, line};

/// Flags of `trialog doctor`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The data folder; default: that of .trialog.toml, ./trialog-data.
    #[arg(long, env = "TRIALOG_DATA")]
    data: Option<PathBuf>,
    /// A TOML file.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Leave out reading every object's content: look only whether it is there with its size.
    #[arg(long)]
    skip_contents: bool,
}

/// Prints the configuration in force, what is wrong with the data folder, and what its machine lacks. Reads every
/// database and every object whole; a server may run meanwhile. `named` is what the folder's own settings say.
///
/// # Errors
/// When anything is wrong with the folder, or keeps a server from working.
pub async fn doctor(arguments: Arguments, named: Named, format: Format) -> anyhow::Result<()> {
    let settings = settings::load(arguments.config.as_deref())?;
    let root = arguments.data.or(named.data).unwrap_or_else(|| PathBuf::from(DATA_FOLDER));
    let exists = root.exists();
    let server = announced(&root);
    let (mut faults, mut processes) = (Vec::new(), Vec::new());
    if exists {
        let stores = settings.store.stores(&root)?;
        processes = databases::processes(&stores).await;
        faults = databases::faults(&root, &stores).await?;
        faults.extend(logs::newer(&root, &stores).await);
        faults.extend(contents::faults(&stores, &settings.objects.open(&root), !arguments.skip_contents).await);
    }
    let pid = server["pid"].as_i64().filter(|_| server["lives"] == true).and_then(|pid| i32::try_from(pid).ok());
    let checks = checks::all(&root, &settings, pid);
    if format.is_document() {
        let folder = json!({
            "path": root, "exists": exists, "server": server, "faults": faults, "processes": processes
        });
        document(format, &json!({"configuration": settings, "data_folder": folder, "checks": checks}));
    } else {
        line("# configuration of the file of --config, the environment and the defaults");
        line("# flags that were given to `trialog up`, e.g. --listen, are in no file and not in here");
        line(&toml::to_string_pretty(&settings)?);
        line(&format!("# data folder {}", root.display()));
        elsewhere(named.url.as_deref(), &server).iter().for_each(|text| line(text));
        match (exists, &server) {
            (false, _) => line("does not exist yet; `trialog up` makes it"),
            (true, Value::Null) => line("no server is announced"),
            (true, server) => {
                line(&in_words(server, settings.http.public_url.as_deref().unwrap_or(&settings.http.listen)))
            }
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

/// What the settings of the folder that it is called in name.
pub struct Named {
    /// The data folder.
    pub data: Option<PathBuf>,
    /// The server.
    pub url: Option<String>,
}

/// The data folder where none is named.
const DATA_FOLDER: &str = "./trialog-data";

/// That the server which this folder's commands talk to is another one than that of the data folder, and who looks at
/// that one.
fn elsewhere(named: Option<&str>, announced: &Value) -> Vec<String> {
    let Some(url) = named.filter(|url| Some(*url) != announced["url"].as_str()) else { return Vec::new() };
    vec![
        format!(".trialog.toml names the server at {url}: this looks at the data folder only, not at that server"),
        format!("look there with `curl {url}/readyz` and `trialog feed list`, or run doctor on its machine"),
    ]
}

/// What is behind the last colon: a server that listens everywhere is announced by another name.
fn port(address: &str) -> &str {
    address.trim_end_matches('/').rsplit(':').next().unwrap_or_default()
}

fn in_words(server: &Value, configured: &str) -> String {
    let (url, pid) = (server["url"].as_str().unwrap_or("an unknown address"), &server["pid"]);
    match server["lives"].as_bool() {
        Some(true) if port(url) != port(configured) => {
            format!("a server runs at {url} (process {pid}), which is what counts, and not {configured} as above")
        }
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
            assert_eq!(in_words(&server, "127.0.0.1:1").contains("gone"), !lives);
        }
    }

    #[test]
    fn the_address_that_counts_is_the_one_that_was_announced() {
        // The file said 8080, the flag 18080, and whoever read the file asked the wrong server.
        let server = json!({"url": "http://127.0.0.1:18080", "pid": 7, "lives": true});
        let said = in_words(&server, "127.0.0.1:8080");
        assert!(said.starts_with("a server runs at http://127.0.0.1:18080 (process 7), which is what"), "{said}");
        assert_eq!(in_words(&server, "127.0.0.1:18080"), "a server runs at http://127.0.0.1:18080 (process 7)");
        let said = elsewhere(Some("https://lab:8443"), &server).join("\n");
        assert!(said.contains("not at that server") && said.contains("curl https://lab:8443/readyz"), "{said}");
        assert!(elsewhere(Some("http://127.0.0.1:18080"), &server).is_empty());
        assert!(elsewhere(None, &Value::Null).is_empty());
        assert!(!in_words(&server, "0.0.0.0:18080").contains("counts"), "it listens there, too");
    }
}
