//! Which databases a data folder has: one that is gone, empty or exchanged is refused at the start, before anything is
//! written beside it that contradicts it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use eventlog::{Examined, ExaminedCursor, Store, Stores};

use runtime::MachineEntropy;
use vocabulary::Entropy;

use super::folder::replace;
use super::{logs, moved};

/// The services that keep a database.
pub const KEEPERS: [&str; 5] = ["workspaces", "runs", "sweeps", "models", "compute"];
/// What the folder remembers: the incarnation of each service's log.
const REMEMBERED: &str = "db/databases.json";

/// Incarnation by service.
type Remembered = BTreeMap<String, String>;

/// The files of a folder.
pub fn in_folder(root: &Path) -> Stores {
    Stores::in_folder(root.join("db"))
}

fn remembered(root: &Path) -> anyhow::Result<Option<Remembered>> {
    let path = root.join(REMEMBERED);
    match fs::read(&path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text).with_context(|| path.display().to_string())?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Looks at the databases of the services that run here before any of them is opened. `accepted` services take what
/// is there, also nothing.
///
/// # Errors
/// When a database is missing or empty though the folder had it, is another one than it had, or cannot be read.
pub async fn check(root: &Path, stores: &Stores, services: &[String], accepted: &[String]) -> anyhow::Result<()> {
    let mut backoff = runtime::Backoff::new(AWAY_MIN, AWAY_MAX);
    // A server that starts with its database waits for it, rather than to be started again and again.
    while let Looked::Away(reason) = look(root, stores, services, accepted).await? {
        tracing::warn!("{reason}; it is waited for");
        backoff.wait().await;
    }
    Ok(())
}

/// Waits for a database that is away.
const AWAY_MIN: Duration = Duration::from_millis(200);
const AWAY_MAX: Duration = Duration::from_secs(5);

/// What came of a look at the databases.
enum Looked {
    /// They are as they should be.
    Good,
    /// The server that has them does not answer.
    Away(String),
}

async fn look(root: &Path, stores: &Stores, services: &[String], accepted: &[String]) -> anyhow::Result<Looked> {
    if let Some(elsewhere) = moved::refusal(root, stores)? {
        bail!("{elsewhere}");
    }
    let known = remembered(root)?;
    let mut found: BTreeMap<&str, Examined> = BTreeMap::new();
    for service in KEEPERS {
        let store = stores.of(service);
        match store.examine().await {
            Ok(Some(examined)) => drop(found.insert(service, examined)),
            Ok(None) => {}
            Err(_) if accepted.iter().any(|name| name == service) => {}
            Err(error) if error.problem().passes_by_itself() && store.file().is_none() => {
                return Ok(Looked::Away(format!("the database ({store}) cannot be reached: {error}")));
            }
            Err(error) if error.problem().passes_by_itself() => {
                bail!("the database of {service} ({store}) cannot be opened: {error}")
            }
            Err(error) => bail!(
                "the database of {service} ({store}) cannot be read: {error}; it is damaged: put it back from a \
                 backup; `trialog doctor` says more"
            ),
        }
    }
    // All of them, before one is opened: an installation is not to be half a newer one.
    for options in logs::options(root, stores).iter().filter(|options| found.contains_key(options.service)) {
        if services.iter().any(|here| here == options.service)
            && let Err(error) = options.store.lacking(options.migrations).await
        {
            bail!("the database of {} ({}) cannot be used: {error}", options.service, options.store);
        }
    }
    if known.is_none() && found.is_empty() {
        // A new folder: from its first moment on it knows that it has none, whenever the first start breaks off.
        remember_all(root, &Remembered::new())?;
        return Ok(Looked::Good);
    }
    let full: Vec<&str> = found.iter().filter(|(_, log)| log.head > 0).map(|(service, _)| *service).collect();
    for service in KEEPERS.into_iter().filter(|name| services.iter().any(|here| here == name)) {
        let incarnation = known.as_ref().and_then(|known| known.get(service));
        // A folder of a version that remembered nothing has had every service that it is started with. What is in a
        // database that others reach as well says nothing about this folder.
        let is_file = stores.of(service).file().is_some();
        let was_there = incarnation.is_some() || (known.is_none() && is_file && !full.is_empty());
        let wrong = match found.get(service) {
            None if was_there => "missing or empty",
            Some(log) if incarnation.is_some_and(|known| *known != log.incarnation) => "another one than before",
            _ => continue,
        };
        if !accepted.iter().any(|name| name == service) {
            let (store, beside) = (stores.of(service), full.join(", "));
            bail!(
                "the database of {service} ({store}) is {wrong}, while the folder holds data of: {beside}. Put it \
                 back from a backup. If what it held may be lost, start once with --accept-database {service}: \
                 it is then used as it is, new if it is missing, and what the others know of it refers to nothing"
            );
        }
    }
    check_set_back(stores, services, accepted, &found, &MachineEntropy::default()).await?;
    Ok(Looked::Good)
}

/// Logs that end before what others have seen of them, or have other events there: they were set back, and their
/// positions come again with other events. Accepted ones become other incarnations.
async fn check_set_back(
    stores: &Stores,
    services: &[String],
    accepted: &[String],
    found: &BTreeMap<&str, Examined>,
    entropy: &dyn Entropy,
) -> anyhow::Result<()> {
    for (service, log) in found.iter().filter(|(name, _)| services.iter().any(|here| here == *name)) {
        let source = format!("{service}@{}", log.incarnation);
        let seen = found.values().flat_map(|other| other.cursors.iter().map(move |cursor| (other, cursor)));
        for (other, cursor) in seen.filter(|(_, cursor)| cursor.source == source) {
            let store = stores.of(service);
            if !is_set_back(&store, log, cursor).await? {
                continue;
            }
            if accepted.iter().any(|name| name == service) {
                store.renew(entropy.seed()).await?;
                break;
            }
            bail!(
                "the database of {service} ({store}) was set back: it ends at {}, and {}'s follower {} has seen it up \
                 to {}. Put it back from a later backup. If what it has lost may be lost, start once with \
                 --accept-database {service}: it is another log then, which `trialog feed adopt` lets the others \
                 follow",
                log.head,
                other.service,
                cursor.projection,
                cursor.position
            );
        }
    }
    Ok(())
}

async fn is_set_back(store: &Store, log: &Examined, cursor: &ExaminedCursor) -> anyhow::Result<bool> {
    Ok(match cursor.event_id {
        _ if cursor.position > log.head => true,
        Some(seen) if cursor.position > 0 => store.event_at(cursor.position).await? != Some(seen),
        _ => false,
    })
}

/// Who writes each log that several processes reach, and who stands by, in words.
pub async fn processes(stores: &Stores) -> Vec<String> {
    let mut lines = Vec::new();
    for service in KEEPERS {
        let Ok(reader) = stores.of(service).reader().await else { continue };
        let found = reader.processes().await.unwrap_or_default();
        reader.close().await;
        let words = found.iter().map(|(writes, holder)| {
            let does = if *writes { "writes" } else { "stands by" };
            format!(
                "{} ({}) {does}",
                holder.name,
                if holder.address.is_empty() { "no address" } else { &holder.address }
            )
        });
        let words: Vec<String> = words.collect();
        if !words.is_empty() {
            lines.push(format!("{service}: {}", words.join(", ")));
        }
    }
    lines
}

/// Notes which databases the folder has, once all services are open.
///
/// # Errors
/// When one cannot be read, or the note not be written.
pub async fn remember(root: &Path, stores: &Stores) -> anyhow::Result<()> {
    let before = remembered(root)?;
    let mut now = before.clone().unwrap_or_default();
    for service in KEEPERS {
        if let Some(examined) = stores.of(service).examine().await? {
            now.insert(service.to_owned(), examined.incarnation);
        }
    }
    if before.as_ref() == Some(&now) { Ok(()) } else { remember_all(root, &now) }
}

fn remember_all(root: &Path, databases: &Remembered) -> anyhow::Result<()> {
    replace(&root.join(REMEMBERED), &serde_json::to_vec(databases)?)
}

/// Makes each database whole without the files beside it, and says of which it could not: no server has them open, but
/// somebody may read them.
///
/// # Errors
/// When one cannot be written.
pub async fn write_back(root: &Path) -> anyhow::Result<()> {
    let stores = in_folder(root);
    for store in KEEPERS.map(|service| stores.of(service)) {
        if store.is_there().await? && !store.write_back().await.with_context(|| store.to_string())? {
            let why = "somebody reads it, so its last commits stay in the file beside it";
            runtime::print_line(format_args!("{store}: {why}"));
        }
    }
    Ok(())
}

/// Everything that is wrong with the databases of a folder, in words; reads them whole.
///
/// # Errors
/// When what the folder remembers cannot be read.
pub async fn faults(root: &Path, stores: &Stores) -> anyhow::Result<Vec<String>> {
    if let Some(elsewhere) = moved::refusal(root, stores)? {
        return Ok(vec![elsewhere]);
    }
    let mut wrong = Vec::new();
    let known = remembered(root)?.unwrap_or_default();
    let mut logs = Vec::new();
    for service in KEEPERS {
        let store = stores.of(service);
        if !store.is_there().await.unwrap_or(true) {
            if known.contains_key(service) {
                wrong.push(format!("{service}: its database is missing or empty"));
            }
            continue;
        }
        match store.faults().await {
            Ok(faults) => wrong.extend(faults.into_iter().map(|fault| format!("{service}: {fault}"))),
            Err(error) => wrong.push(format!("{service}: {error}")),
        }
        match store.examine().await {
            Ok(log) => logs.extend(log),
            Err(error) => wrong.push(format!("{service}: {error}")),
        }
    }
    // Heads are read again after all cursors: a server that runs moves both meanwhile.
    let mut heads = BTreeMap::new();
    for log in &logs {
        if known.get(&log.service).is_some_and(|incarnation| *incarnation != log.incarnation) {
            wrong.push(format!("{}: its database is another one than the folder remembers", log.service));
        }
        if let Ok(Some(again)) = stores.of(&log.service).examine().await {
            heads.insert(again.service.clone(), again);
        }
    }
    for log in &logs {
        wrong.extend(ahead(log, &heads));
        wrong.extend(elsewhere(log, &heads, stores).await);
    }
    Ok(wrong)
}

/// Cursors that mean nothing in the log that they are in: beyond its end, since it has lost events, or in another
/// incarnation, since it was made anew or somebody adopted what is not there.
fn ahead(log: &Examined, heads: &BTreeMap<String, Examined>) -> Vec<String> {
    let mut wrong = Vec::new();
    for cursor in &log.cursors {
        let (service, incarnation) = cursor.source.split_once('@').unwrap_or((&cursor.source, ""));
        let Some(source) = heads.get(service) else { continue };
        let name = format!("{}: the cursor {} of {}", log.service, cursor.projection, cursor.source);
        if !incarnation.is_empty() && incarnation != source.incarnation {
            wrong.push(format!(
                "{name} is foreign: the log of {service} is {service}@{is}. Its follower stands still until \
                 `trialog feed adopt {service}@{is}`",
                is = source.incarnation
            ));
        } else if cursor.position > source.head {
            wrong.push(format!("{name} is at {}, that log ends at {}", cursor.position, source.head));
        }
    }
    wrong
}

/// Cursors at positions where another event stands now: the log was set back and has grown again.
async fn elsewhere(log: &Examined, heads: &BTreeMap<String, Examined>, stores: &Stores) -> Vec<String> {
    let mut wrong = Vec::new();
    for cursor in &log.cursors {
        let Some((service, incarnation)) = cursor.source.split_once('@') else { continue };
        let source = heads.get(service).filter(|source| source.incarnation == incarnation);
        let Some(source) = source.filter(|source| cursor.position <= source.head) else { continue };
        // What cannot be read is said of that database.
        if is_set_back(&stores.of(service), source, cursor).await.unwrap_or_default() {
            wrong.push(format!(
                "{}: the cursor {} of {} is at {}, where another event stands now: the log of {service} was set back \
                 and has grown again",
                log.service, cursor.projection, cursor.source, cursor.position
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(service: &str, head: i64, cursors: &[(&str, i64)]) -> Examined {
        let cursor = |(source, position): &(&str, i64)| ExaminedCursor {
            projection: "p".to_owned(),
            source: (*source).to_owned(),
            position: *position,
            event_id: None,
        };
        let cursors = cursors.iter().map(cursor).collect();
        Examined { service: service.to_owned(), incarnation: "i".to_owned(), head, cursors }
    }

    #[test]
    fn a_cursor_beyond_its_log_or_of_another_is_found() {
        // The log was restored from an older backup than its followers: they would skip what comes next.
        let heads = BTreeMap::from([("runs".to_owned(), log("runs", 7, &[]))]);
        let told = |cursors: &[(&str, i64)]| ahead(&log("sweeps", 1, cursors), &heads).len();
        assert_eq!([told(&[("runs", 7)]), told(&[("runs", 8)]), told(&[("runs@i", 8)])], [0, 1, 1]);
        assert_eq!(told(&[("elsewhere", 99)]), 0);
        let foreign = ahead(&log("sweeps", 1, &[("runs@old", 3)]), &heads);
        assert!(foreign.len() == 1 && foreign[0].contains("trialog feed adopt runs@i"), "{foreign:?}");
    }

    #[tokio::test]
    async fn a_first_start_that_broke_off_goes_on() {
        // Killed between two services, a new folder has some of its databases; that is no loss.
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("db")).unwrap();
        let all = KEEPERS.map(str::to_owned);
        let stores = in_folder(folder.path());
        check(folder.path(), &stores, &all, &[]).await.unwrap();
        fs::write(folder.path().join("db/runs.sqlite"), "").unwrap();
        check(folder.path(), &stores, &all, &[]).await.unwrap();
        assert_eq!(remembered(folder.path()).unwrap(), Some(Remembered::new()));
    }
}
