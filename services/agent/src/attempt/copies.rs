//! Copies of folders that a program may change meanwhile: whole, of one moment, and on the disk.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How often what changes meanwhile is copied: a save takes far less time than training between two does.
const COPIES_MAX: u32 = 8;

/// What came of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copied {
    /// It is of one moment.
    Whole,
    /// The folders were changed, and what they were is gone.
    Changed,
}

/// Copies folders into `target`, each under its name, in the place of what is there. What changes meanwhile is copied
/// again as long as that is wanted.
///
/// # Errors
/// When the disk does not go along.
pub(super) fn make(folders: &[(PathBuf, PathBuf)], target: &Path, is_wanted: impl Fn() -> bool) -> io::Result<Copied> {
    for _ in 0..COPIES_MAX {
        if !is_wanted() {
            return Ok(Copied::Changed);
        }
        remove(target)?;
        fs::create_dir_all(target)?;
        let all = || folders.iter().map(|(folder, _)| listing(folder)).collect::<io::Result<Vec<_>>>();
        let before = all();
        let copied = folders.iter().filter(|(folder, _)| is_folder(folder)).try_for_each(|(folder, name)| {
            let target = target.join(name);
            fs::create_dir_all(target.parent().unwrap_or(&target))?;
            copy(folder, &target)
        });
        match copied {
            // A file that was there a moment ago: it is being replaced.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            copied => copied?,
        }
        if before.is_ok_and(|before| all().is_ok_and(|after| before == after)) {
            sync(target)?;
            return Ok(Copied::Whole);
        }
    }
    Ok(Copied::Changed)
}

/// Removes a folder that may not be there.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A link in the place of a folder leads to what is none of it.
fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|facts| facts.is_dir())
}

/// What is in a folder: paths, sizes and times of the last change, in no order.
pub(super) fn listing(folder: &Path) -> io::Result<BTreeSet<(PathBuf, u64, Option<SystemTime>)>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let facts = entry.metadata()?;
            found.insert((entry.path(), facts.len(), facts.modified().ok()));
            if facts.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// Files, folders and links as they are; nothing else is kept.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Puts what is in a folder on the disk.
fn sync(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_copy_is_of_one_moment_or_none() {
        // A model that is half of one epoch and half of the next answers nonsense.
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("model"), folder.path().join("copy"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("sub/weights"), "1").unwrap();
        std::os::unix::fs::symlink("sub/weights", from.join("link")).unwrap();
        let folders = [(from.clone(), PathBuf::from("outputs/model"))];
        assert_eq!(make(&folders, &to, || true).unwrap(), Copied::Whole);
        assert_eq!(fs::read_to_string(to.join("outputs/model/link")).unwrap(), "1");
        // Another value has come: what the folder holds is none of the wanted one.
        assert_eq!(make(&folders, &to, || false).unwrap(), Copied::Changed);
        // It is never still.
        let asked = Cell::new(0);
        let restless = [(from.clone(), PathBuf::from("a")), (folder.path().join("gone"), PathBuf::from("b"))];
        let wanted = || {
            asked.set(asked.get() + 1);
            true
        };
        assert_eq!(make(&restless, &to, wanted).unwrap(), Copied::Changed);
        assert_eq!(asked.get(), COPIES_MAX);
    }
}
