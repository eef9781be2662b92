//! Which files of a folder go along as code. Everything is looked at before anything is read: what is no file would be
//! waited for, a link may lead out of the folder or round in it, and a data set would fill the memory.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use vocabulary::FieldError;

use crate::client::Failure;
use crate::client::output::bytes;

/// Names that are never part of the code.
const LEFT_OUT: [&str; 7] = [".git", ".venv", "venv", "__pycache__", "node_modules", "trialog-data", ".trialog.toml"];
/// The largest code folder: it is read into memory and travels to every node.
pub const CODE_BYTES_MAX: u64 = 256 << 20;

/// The files of a code folder, by their names in it.
#[derive(Debug, Default)]
pub struct Files {
    /// In order of their names: the same files make the same archive.
    pub files: BTreeMap<PathBuf, CodeFile>,
    /// What lies in the folder and does not go along, other than by its name.
    pub warnings: Vec<FieldError>,
}

/// A file that goes along.
#[derive(Debug, Clone)]
pub struct CodeFile {
    /// Where its bytes are.
    pub source: PathBuf,
    pub size: u64,
    pub is_executable: bool,
}

impl CodeFile {
    fn new(source: &Path, facts: &Metadata) -> Self {
        let is_executable = facts.permissions().mode() & 0o100 != 0;
        Self { source: source.to_owned(), size: facts.len(), is_executable }
    }
}

impl Files {
    /// Looks at a folder; nothing of it is read.
    ///
    /// # Errors
    /// When a part of it cannot be looked at, or a link in it does not lead to a file that goes along.
    pub fn of(folder: &Path) -> Result<Self, Failure> {
        // The document's own folder has no name.
        let shown = if folder.as_os_str().is_empty() { Path::new("./") } else { folder };
        let root = shown.canonicalize().map_err(|error| failed(shown, &error))?;
        if let Some(mark) = data_folder(&root) {
            return Err(Failure::Usage(format!(
                "code {}: this is the data folder of a server (it has {mark}), whose keys each node would get; lay the \
                 code into a folder of its own and name that one",
                shown.display()
            )));
        }
        let mut walk = Walk { shown, root: &root, found: Self::default(), links: Vec::new() };
        walk.enter(&root)?;
        walk.follow()?;
        Ok(walk.found)
    }

    /// How large the files are together.
    ///
    /// # Errors
    /// When that is more than code may be.
    pub fn size(&self, folder: &Path) -> Result<u64, Failure> {
        let total = self.files.values().map(|file| file.size).sum();
        if total <= CODE_BYTES_MAX {
            return Ok(total);
        }
        let largest = self.files.iter().max_by_key(|(_, file)| file.size);
        let largest = largest.map(|(name, file)| format!("{} has {}", name.display(), bytes(file.size)));
        Err(Failure::Usage(format!(
            "code {} has {}, which is more than {} MiB ({}); put data elsewhere and name it in inputs",
            folder.display(),
            bytes(total),
            CODE_BYTES_MAX >> 20,
            largest.unwrap_or_default()
        )))
    }
}

/// That a part of the folder cannot be looked at or read.
pub fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Usage(format!("code {}: {error}", path.display()))
}

struct Walk<'f> {
    /// The folder as it was named.
    shown: &'f Path,
    /// The same without links.
    root: &'f Path,
    found: Files,
    links: Vec<PathBuf>,
}

impl Walk<'_> {
    fn enter(&mut self, folder: &Path) -> Result<(), Failure> {
        for entry in fs::read_dir(folder).map_err(|error| failed(&self.called(folder), &error))? {
            let path = entry.map_err(|error| failed(&self.called(folder), &error))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if LEFT_OUT.contains(&name.as_str()) || name.ends_with(".pyc") {
                continue;
            }
            let facts = fs::symlink_metadata(&path).map_err(|error| failed(&self.called(&path), &error))?;
            let kind = facts.file_type();
            if kind.is_symlink() {
                self.links.push(path);
            } else if kind.is_dir() {
                match data_folder(&path) {
                    Some(mark) => self.leave_out(&path, &format!("is the data folder of a server (it has {mark})")),
                    None => self.enter(&path)?,
                }
            } else if kind.is_file() {
                self.found.files.insert(self.inner(&path), CodeFile::new(&path, &facts));
            } else {
                let what = match kind {
                    kind if kind.is_fifo() => "is a pipe",
                    kind if kind.is_socket() => "is a socket",
                    _ => "is a device",
                };
                self.leave_out(&path, what);
            }
        }
        Ok(())
    }

    /// Links are packed as the files that they lead to, when those go along: a link is no way past what is left out.
    fn follow(&mut self) -> Result<(), Failure> {
        let mut linked = Vec::new();
        for link in &self.links {
            let target = link.canonicalize();
            let file = target.as_ref().ok().and_then(|target| self.found.files.get(&self.inner(target)));
            let Some(file) = file else { return Err(self.refused(link, target)) };
            linked.push((self.inner(link), file.clone()));
        }
        self.found.files.extend(linked);
        Ok(())
    }

    fn refused(&self, link: &Path, target: std::io::Result<PathBuf>) -> Failure {
        let to = match target {
            Ok(target) => {
                let to = target.display();
                if !target.starts_with(self.root) {
                    format!("leads out of the code, to {to}")
                } else if target.is_dir() {
                    format!("leads to a folder, {to}")
                } else {
                    format!("leads to what does not go along, {to}")
                }
            }
            Err(_) => {
                let written = fs::read_link(link).unwrap_or_default();
                format!("leads nowhere (it names {})", written.display())
            }
        };
        Failure::Usage(format!(
            "code {}: this link {to}, and only links to files of the code go along; put a copy in its place, name data \
             in inputs, or remove the link",
            self.called(link).display()
        ))
    }

    fn leave_out(&mut self, path: &Path, what: &str) {
        let message = format!("{} {what} and does not go along with the code", self.called(path).display());
        self.found.warnings.push(FieldError::new("", "LeftOut", message));
    }

    /// A path in the code.
    fn inner(&self, path: &Path) -> PathBuf {
        path.strip_prefix(self.root).unwrap_or(path).to_owned()
    }

    /// A path as people know it: below the folder as it was named.
    fn called(&self, path: &Path) -> PathBuf {
        self.shown.join(self.inner(path))
    }
}

/// What makes a folder the data folder of a server, whatever it is called: two of what a server lays into its own. One
/// alone may be anybody's.
fn data_folder(folder: &Path) -> Option<String> {
    let mut marks: Vec<&str> = ["signing.key", "admin.token", "run/lock"].to_vec();
    marks.retain(|mark| fs::symlink_metadata(folder.join(mark)).is_ok_and(|facts| facts.is_file()));
    (marks.len() > 1).then(|| marks.join(" and "))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        folder
    }

    fn names(found: &Files) -> Vec<String> {
        found.files.keys().map(|name| name.display().to_string()).collect()
    }

    fn warned(found: &Files) -> String {
        found.warnings.iter().map(|warning| format!("{}: {}\n", warning.code, warning.message)).collect()
    }

    #[test]
    fn a_link_goes_along_as_the_file_of_the_code_that_it_leads_to() {
        let folder = folder_with(&["train.py", "conf/a.yaml"]);
        symlink("conf/a.yaml", folder.path().join("now.yaml")).unwrap();
        symlink("../train.py", folder.path().join("conf/again.py")).unwrap();
        let found = Files::of(folder.path()).unwrap();
        assert_eq!(names(&found), ["conf/a.yaml", "conf/again.py", "now.yaml", "train.py"]);
        let file = &found.files[Path::new("now.yaml")];
        assert_eq!(fs::read_to_string(&file.source).unwrap(), "conf/a.yaml");
        assert_eq!(warned(&found), "");
    }

    #[test]
    fn a_link_to_anything_else_is_refused_by_its_name_with_the_way_out() {
        // `uplink -> ../../` packed the whole disk; `self -> .` was "Too many levels of symbolic links".
        let elsewhere = folder_with(&["secret"]);
        let secret = elsewhere.path().join("secret");
        for (target, says) in [
            (Path::new("../../"), "leads out of the code"),
            (secret.as_path(), "leads out of the code"),
            (Path::new("."), "leads to a folder"),
            (Path::new("sub"), "leads to a folder"),
            (Path::new("gone"), "leads nowhere (it names gone)"),
            (Path::new("odd"), "leads nowhere (it names odd)"),
            (Path::new(".git/config"), "leads to what does not go along"),
        ] {
            let folder = folder_with(&["train.py", "sub/a.py", ".git/config"]);
            symlink(target, folder.path().join("odd")).unwrap();
            let Failure::Usage(text) = Files::of(folder.path()).unwrap_err() else { panic!("another failure") };
            assert!(text.contains("/odd: this link ") && text.contains(says), "{}: {text}", target.display());
            assert!(text.ends_with("put a copy in its place, name data in inputs, or remove the link"), "{text}");
        }
    }

    #[test]
    fn what_is_no_file_is_left_out_and_said() {
        // A pipe was read until somebody wrote into it, which nobody did.
        let folder = folder_with(&["train.py"]);
        let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap();
        assert!(made.success());
        let socket = UnixListener::bind(folder.path().join("socket")).unwrap();
        let found = Files::of(folder.path()).unwrap();
        drop(socket);
        assert_eq!(names(&found), ["train.py"]);
        let warned = warned(&found);
        for says in ["pipe is a pipe and does not go along", "socket is a socket and does not go along"] {
            assert!(warned.contains(says) && warned.starts_with("LeftOut: "), "{warned}");
        }
        assert!(found.warnings.iter().all(|warning| warning.code == "LeftOut"));
    }

    #[test]
    fn a_data_folder_is_known_by_what_is_in_it() {
        // `trialog up --data mydata` beside the code: the admin's token and the signing key went to every node.
        for marks in [["admin.token", "signing.key"], ["run/lock", "signing.key"], ["admin.token", "run/lock"]] {
            let server = ["mydata/", "mydata/"].iter().zip(marks).map(|(folder, mark)| format!("{folder}{mark}"));
            let server: Vec<String> = server.collect();
            let all: Vec<&str> = server.iter().map(String::as_str).chain(["train.py", "keys/signing.key"]).collect();
            let folder = folder_with(&all);
            let found = Files::of(folder.path()).unwrap();
            assert_eq!(names(&found), ["keys/signing.key", "train.py"], "a key alone may be anybody's");
            assert!(warned(&found).contains("mydata is the data folder of a server"), "{}", warned(&found));
            let Failure::Usage(text) = Files::of(&folder.path().join("mydata")).unwrap_err() else { panic!("taken") };
            assert!(text.contains("the data folder of a server") && text.contains("name that one"), "{text}");
        }
    }

    #[test]
    fn a_data_set_is_weighed_and_not_read() {
        // 3 GB were read into memory before it was said that they are too many.
        let folder = folder_with(&["train.py"]);
        let file = fs::File::create(folder.path().join("data.csv")).unwrap();
        // Nothing has so much memory: whoever reads it dies of it.
        file.set_len(1 << 42).unwrap();
        let found = Files::of(folder.path()).unwrap();
        let Failure::Usage(text) = found.size(folder.path()).unwrap_err() else { panic!("another failure") };
        assert!(text.contains("more than 256 MiB (data.csv has 4 TiB)"), "{text}");
        fs::remove_file(folder.path().join("data.csv")).unwrap();
        assert_eq!(Files::of(folder.path()).unwrap().size(folder.path()).unwrap(), 8);
    }
}
