//! What each service that runs here measures: what it says of itself, and what is the same of every log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use contracts::health::Family;
use eventlog::{EventLog, Holder, Store};
use futures_util::future::BoxFuture;

use super::disk;

/// Says what a service measures.
pub type Measure = Arc<dyn Fn() -> BoxFuture<'static, Vec<Family>> + Send + Sync>;

/// What is measured here, by service.
#[derive(Clone, Default)]
pub struct Measures(BTreeMap<&'static str, Vec<Measure>>);

impl Measures {
    /// Adds what a service says of itself.
    pub fn add<F>(&mut self, service: &'static str, measure: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Vec<Family>> + Send + 'static,
    {
        self.0.entry(service).or_default().push(Arc::new(move || Box::pin(measure())));
    }

    /// Adds what is the same of every service: its log, its database, the disk below it.
    pub fn add_log(&mut self, service: &'static str, log: &EventLog, store: Store) {
        let (log, head) = (log.clone(), log.head());
        self.add(service, move || {
            let (appended, log, file) = (*head.borrow(), log.clone(), store.file().map(Path::to_path_buf));
            async move {
                let sizes = match file {
                    Some(file) => tokio::task::spawn_blocking(move || sizes(service, &file)).await,
                    None => Ok(log
                        .reader()
                        .bytes()
                        .await
                        .ok()
                        .flatten()
                        .map(|bytes| taken(service, bytes))
                        .into_iter()
                        .collect()),
                };
                let help = "Events that were ever appended to a service's log.";
                let appended = Family::counter("trialog_events_appended_total", help)
                    .with(&[("service", service)], appended as f64);
                let mut families = sizes.unwrap_or_default();
                families.push(appended);
                families.extend(standby(service, &log.reader().processes().await.unwrap_or_default()));
                families
            }
        });
    }

    /// Everything that a service measures.
    pub async fn of(&self, service: &str) -> Vec<Family> {
        let measures = self.0.get(service).into_iter().flatten();
        futures_util::future::join_all(measures.map(|measure| measure())).await.into_iter().flatten().collect()
    }
}

/// Who else could write a log that several processes reach.
fn standby(service: &str, processes: &[(bool, Holder)]) -> Option<Family> {
    let count = processes.iter().filter(|(writes, _)| !writes).count();
    let help = "Processes that stand by for the one that writes a service's log.";
    let family = || Family::gauge("trialog_log_standbys", help).with(&[("service", service)], count as f64);
    (!processes.is_empty()).then(family)
}

fn taken(service: &str, bytes: u64) -> Family {
    let help = "Bytes of a service's database, with what lies beside it.";
    Family::gauge("trialog_database_bytes", help).with(&[("service", service)], bytes as f64)
}

/// What a database takes with the files beside it, and what its disk has.
fn sizes(service: &str, file: &Path) -> Vec<Family> {
    let labels = [("service", service)];
    let beside = ["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{}{end}", file.display())));
    let bytes: u64 = beside.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|facts| facts.len()).sum();
    let mut families = vec![taken(service, bytes)];
    if let Ok(room) = disk::room(file.parent().unwrap_or(file)) {
        let help = "Bytes that are left on the disk of a service's data.";
        families.push(Family::gauge("trialog_disk_free_bytes", help).with(&labels, room.free_bytes as f64));
        let help = "Bytes that the disk of a service's data has.";
        families.push(Family::gauge("trialog_disk_size_bytes", help).with(&labels, room.size_bytes as f64));
    }
    families
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_lies_beside_a_database_counts_as_its_own() {
        // A write-ahead log that grows is what fills a disk.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        std::fs::write(&file, [0; 10]).unwrap();
        std::fs::write(folder.path().join("database-wal"), [0; 7]).unwrap();
        let families = sizes("runs", &file);
        let value = |name: &str| families.iter().find(|family| family.name == name).unwrap().samples[0].value;
        assert_eq!(value("trialog_database_bytes"), 17.0);
        assert!(value("trialog_disk_free_bytes") <= value("trialog_disk_size_bytes"));
    }
}
