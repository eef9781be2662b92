//! Whether the disk of the data folder has room: without it nothing that is asked for can be stored, and `/readyz` says
//! so for each service that runs here.

use std::io;
use std::path::Path;
use std::time::Duration;

use runtime::{Health, Part, Shutdown, Task};

/// Between two looks: a disk fills within seconds at the worst, and asking costs a few microseconds.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looks again and again; `free_bytes_min` is what counts as full.
pub fn watch(root: &Path, services: &[String], free_bytes_min: u64, health: &Health, shutdown: &Shutdown) -> Task {
    let parts: Vec<Part> = services.iter().map(|service| health.part(service, "disk")).collect();
    let (root, shutdown) = (root.to_path_buf(), shutdown.clone());
    Task::new("disk", move || {
        let (root, parts, shutdown) = (root.clone(), parts.clone(), shutdown.clone());
        async move {
            loop {
                say(&look(&root, free_bytes_min).await, &parts);
                tokio::select! { () = tokio::time::sleep(LOOK_EVERY) => {}, () = shutdown.requested() => return Ok(()) }
            }
        }
    })
}

fn say(found: &Result<(), String>, parts: &[Part]) {
    for part in parts {
        match found {
            Ok(()) => part.well(),
            Err(reason) => part.halted(reason),
        }
    }
}

/// What is wrong with the room there is.
async fn look(root: &Path, free_bytes_min: u64) -> Result<(), String> {
    let (path, shown) = (root.to_path_buf(), root.display());
    // A file system that does not answer must not hold up a thread that others wait for.
    let free = tokio::task::spawn_blocking(move || room(&path)).await.unwrap_or_else(|e| Err(io::Error::other(e)));
    match free.map(|room| room.free_bytes) {
        Ok(free) if free >= free_bytes_min => Ok(()),
        Ok(free) => Err(format!("the disk of {shown} has {free} bytes left, {free_bytes_min} are needed; free some")),
        Err(error) => Err(format!("the disk of {shown} cannot be asked how much room it has: {error}")),
    }
}

/// The room of a disk.
pub struct Room {
    /// What an ordinary user may still write.
    pub free_bytes: u64,
    /// What it has.
    pub size_bytes: u64,
}

/// The room of the disk that a path is on.
///
/// # Errors
/// When it cannot be asked.
pub fn room(path: &Path) -> io::Result<Room> {
    let facts = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(facts.f_frsize);
    Ok(Room { free_bytes: bytes(facts.f_bavail), size_bytes: bytes(facts.f_blocks) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_disk_without_room_is_told_for_each_service_until_it_has_room_again() {
        let (folder, health) = (tempfile::tempdir().unwrap(), Health::new());
        let parts = ["runs", "sweeps"].map(|service| health.part(service, "disk"));
        say(&look(folder.path(), u64::MAX).await, &parts);
        let told = health.unwell("sweeps");
        assert!(told.len() == 1 && told[0].part == "disk" && told[0].reason.contains("bytes left"), "{told:?}");
        say(&look(folder.path(), 0).await, &parts);
        assert!(health.unwell("runs").is_empty() && health.unwell("sweeps").is_empty());
        assert!(look(&folder.path().join("absent"), 0).await.is_err());
    }
}
