//! What a server and its nodes write is for the user who runs them: tokens, keys, logs, databases, sockets.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use rustix::fs::Mode;

/// Permissions of the group and of others.
const FOREIGN: u32 = 0o077;

/// From here on whatever this process makes, and what the processes that it starts make, is its user's alone.
pub fn own_files_only() {
    rustix::process::umask(Mode::from_raw_mode(FOREIGN));
}

/// Takes the group's and others' permissions from a data folder that an older version made, and from a backup that was
/// put back. `entries` are the server's own in it: what else lies there is not ours to change. The first of them are
/// looked at each time; the `large` ones, with objects and checkpoints, when the folder was open.
///
/// # Errors
/// When something of it cannot be read or changed.
pub fn tighten(root: &Path, entries: &[&str], large: &[&str]) -> anyhow::Result<()> {
    let is_open = |path: &Path| fs::symlink_metadata(path).is_ok_and(|facts| facts.permissions().mode() & FOREIGN != 0);
    // The folder itself comes last: after a broken end everything is looked at again. One that another user owns (a
    // mounted volume) cannot be closed, only what is in it.
    let was_open = is_open(root) || large.iter().any(|entry| is_open(&root.join(entry)));
    for entry in entries.iter().chain(large.iter().filter(|_| was_open)) {
        tighten_all(&root.join(entry)).with_context(|| format!("closing {}/{entry} to others", root.display()))?;
    }
    if is_open(root)
        && let Err(error) = close(root)
    {
        let shown = root.display();
        tracing::warn!(
            "{shown} stays open to others, what the server writes in it does not: {error}; chmod 700 {shown}"
        );
    }
    Ok(())
}

/// Folders after what is in them.
fn tighten_all(path: &Path) -> io::Result<()> {
    let facts = match fs::symlink_metadata(path) {
        // Jobs that outlived their server add and remove files meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        facts => facts?,
    };
    if facts.is_symlink() {
        return Ok(());
    }
    if facts.is_dir() {
        for entry in fs::read_dir(path)? {
            tighten_all(&entry?.path())?;
        }
    }
    match close(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        closed => closed,
    }
}

fn close(path: &Path) -> io::Result<()> {
    let mode = fs::symlink_metadata(path)?.permissions().mode();
    match mode & FOREIGN {
        0 => Ok(()),
        _ => fs::set_permissions(path, fs::Permissions::from_mode(mode & !FOREIGN)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn an_older_folder_is_closed_and_nothing_else() {
        // A folder of an older version holds the token that does everything; what links lead to is somebody else's.
        let outer = tempfile::tempdir().unwrap();
        let (root, other) = (outer.path().join("d"), outer.path().join("other"));
        fs::create_dir_all(root.join("db/deep")).unwrap();
        for path in [other.clone(), root.join("db/deep/a"), root.join("notes")] {
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for folder in ["db", "db/deep", ""] {
            fs::set_permissions(root.join(folder), fs::Permissions::from_mode(0o755)).unwrap();
        }
        symlink(&other, root.join("db/link")).unwrap();
        tighten(&root, &["db"], &["absent"]).unwrap();
        let modes = ["", "db", "db/deep", "db/deep/a", "notes"].map(|name| mode(&root.join(name)));
        assert_eq!(modes, [0o700, 0o700, 0o700, 0o700, 0o755]);
        assert_eq!(mode(&other), 0o755);
    }
}
