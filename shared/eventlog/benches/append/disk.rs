//! The disk below the log.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

/// Says what file system a folder is on: figures of durability are for ordinary disks.
pub fn name(folder: &Path) {
    let kind = file_system(folder);
    println!("{}", serde_json::json!({"file_system": kind}));
    if ["tmpfs", "overlay"].contains(&kind.as_str()) {
        eprintln!("{kind} is no ordinary disk: the figures say nothing about durability");
    }
}

/// The type of the file system that holds a folder, from the longest mount point above it.
fn file_system(folder: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let above = mounts.lines().filter_map(|mount| {
        let mut fields = mount.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        folder.starts_with(point).then_some((point.len(), kind))
    });
    above.max_by_key(|(length, _)| *length).map_or("unknown", |(_, kind)| kind).to_owned()
}

/// Appends of 4 KiB with fdatasync, a second: what the disk can do.
pub fn sync_floor(folder: &Path, measured: Duration) -> std::io::Result<f64> {
    let mut file = File::create(folder.join("floor.bin"))?;
    let (block, start, mut count) = ([7; 4_096], Instant::now(), 0.0);
    while start.elapsed() < measured {
        file.write_all(&block)?;
        file.sync_data()?;
        count += 1.0;
    }
    Ok(count / start.elapsed().as_secs_f64())
}
