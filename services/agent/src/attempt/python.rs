//! The Python that a job runs with: an interpreter of the machine, or a virtual environment of one that holds what the
//! job requires. Environments are named by what they are made of and kept for all jobs of the machine; one that is not
//! there yet is made as the first stage of the attempt, so that its log and its failure are the job's own.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use contracts::compute::JobSpec;
use sha2::{Digest, Sha256};

use super::places::{Places, Refused};
use super::requirements;
use crate::folder;

/// Makes an environment.
const BUILDER: &str = include_str!("../../python/environment.py");
/// Its name in the attempt's folder.
const BUILDER_FILE: &str = "environment.py";
/// Requirements that the job lists itself, in the attempt's folder.
const REQUIREMENTS_FILE: &str = "requirements.txt";
/// What a whole environment holds.
const READY: &str = "ready";
/// Hexadecimal digits of an environment's name: they become part of the first line of its scripts, which has a limit.
const NAME_DIGITS: usize = 32;
/// What of the agent's own environment a build gets, beside `PIP_*`: how to reach an index, and whom to trust.
const PASSED_ON: [&str; 8] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
];
/// Settings of pip that would install to another place.
const MISLEADING: [&str; 4] = ["PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER"];

/// What a job runs with.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Python {
    /// The interpreter; empty when the job names none.
    pub program: String,
    /// argv of what makes its environment; empty when there is nothing to make.
    pub build: Vec<String>,
}

/// Finds the interpreter, and the environment of what the job requires below `cache`. The code must be unpacked.
pub(super) fn of(cache: &Path, spec: &JobSpec, places: &Places, path: &str) -> io::Result<Result<Python, Refused>> {
    let requires = !spec.requirements.is_empty() || !spec.requirements_file.is_empty();
    let base = match spec.python.as_str() {
        "" if !requires => return Ok(Ok(Python::default())),
        "" => found("python3", path),
        word if word.starts_with('/') => Ok(PathBuf::from(word)),
        version => found(&format!("python{version}"), path),
    };
    let base = match base {
        Ok(base) => base,
        Err(refused) => return Ok(Err(refused)),
    };
    if !requires {
        return Ok(Ok(Python { program: base.display().to_string(), build: Vec::new() }));
    }
    let file = match required(spec, places)? {
        Ok(file) => file,
        Err(refused) => return Ok(Err(refused)),
    };
    let name_of_file = if spec.requirements_file.is_empty() { REQUIREMENTS_FILE } else { &spec.requirements_file };
    let lines = match requirements::read(&file, name_of_file)? {
        Ok(lines) => lines,
        Err(refused) => return Ok(Err(refused)),
    };
    let environment = cache.join(name(&base, &lines, spec));
    let program = environment.join("bin/python").display().to_string();
    // Written anew, empty as it was: its time says when the environment was last used, and those that were not for long
    // are cleared away.
    if fs::OpenOptions::new().write(true).truncate(true).open(environment.join(READY)).is_ok() {
        return Ok(Ok(Python { program, build: Vec::new() }));
    }
    let builder = places.attempt.join(BUILDER_FILE);
    folder::write_whole(&builder, BUILDER.as_bytes())?;
    let build = [&base, &builder, &environment, &file].map(|path| path.display().to_string()).to_vec();
    Ok(Ok(Python { program, build }))
}

/// An interpreter of the machine.
fn found(name: &str, path: &str) -> Result<PathBuf, Refused> {
    let all = path.split(':').filter(|folder| folder.starts_with('/')).map(|folder| Path::new(folder).join(name));
    all.into_iter().find(|file| file.is_file()).ok_or_else(|| {
        Refused(format!("environment.python: this node has no {name} on its PATH ({path}); name one by its path"))
    })
}

/// The requirements file, which is written where the job has only its lines.
fn required(spec: &JobSpec, places: &Places) -> io::Result<Result<PathBuf, Refused>> {
    if spec.requirements_file.is_empty() {
        let file = places.attempt.join(REQUIREMENTS_FILE);
        folder::write_whole(&file, (spec.requirements.join("\n") + "\n").as_bytes())?;
        return Ok(Ok(file));
    }
    let inner = Path::new(&spec.requirements_file);
    let file = places.work.join(inner);
    let is_inner = inner.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let facts = fs::symlink_metadata(&file).ok().filter(|facts| is_inner && facts.is_file());
    let name = &spec.requirements_file;
    Ok(match facts {
        None => Err(Refused(format!("requirements: the code holds no file '{name}'"))),
        Some(_) => Ok(file),
    })
}

/// The name of an environment: what it is made of, in short.
fn name(base: &Path, lines: &[String], spec: &JobSpec) -> String {
    // The environments of one interpreter are the same by whatever link it is called; a newer one makes others.
    let real = fs::canonicalize(base).unwrap_or_else(|_| base.to_owned());
    let facts = fs::metadata(&real).map(|facts| format!("{}.{}", facts.len(), facts.mtime())).unwrap_or_default();
    let code = if lines.iter().any(|line| requirements::is_local(line)) { spec.code_sha256.as_str() } else { "" };
    let mut hash = Sha256::new();
    for part in [&real.display().to_string(), &facts, code, &lines.join("\n")] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())[..NAME_DIGITS].to_owned()
}

/// What a build gets of the agent's own environment.
pub(super) fn build_variables(all: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let is_passed_on = |name: &str| {
        let upper = name.to_ascii_uppercase();
        PASSED_ON.contains(&upper.as_str()) || (name.starts_with("PIP_") && !MISLEADING.contains(&name))
    };
    all.filter(|(name, _)| is_passed_on(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        folder: tempfile::TempDir,
        path: String,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let bin = folder.path().join("bin");
            fs::create_dir_all(&bin).unwrap();
            fs::create_dir_all(folder.path().join("attempt/work")).unwrap();
            fs::write(bin.join("python3"), "").unwrap();
            fs::write(bin.join("python3.11"), "").unwrap();
            Self { path: bin.display().to_string(), folder }
        }

        fn of(&self, spec: &JobSpec) -> Result<Python, String> {
            let places = Places::of(&self.folder.path().join("attempt"), spec).unwrap();
            let cache = self.folder.path().join("environments");
            of(&cache, spec, &places, &self.path).unwrap().map_err(|Refused(why)| why)
        }
    }

    fn spec(python: &str, lines: &[&str]) -> JobSpec {
        let requirements = lines.iter().map(|line| (*line).to_owned()).collect();
        JobSpec { python: python.to_owned(), requirements, ..JobSpec::default() }
    }

    #[test]
    fn a_version_is_found_on_the_path_of_the_node() {
        // Whoever writes 3.11 must not train with another Python without a word.
        let fixture = Fixture::new();
        let program = |python: &str| fixture.of(&spec(python, &[])).map(|python| python.program);
        assert_eq!(program(""), Ok(String::new()));
        assert_eq!(program("3.11"), Ok(format!("{}/python3.11", fixture.path)));
        assert_eq!(program("/opt/python"), Ok("/opt/python".to_owned()));
        assert!(program("3.99").unwrap_err().contains("no python3.99 on its PATH"));
    }

    #[test]
    fn the_same_requirements_are_one_environment_and_others_another() {
        // Else each trial would install anew, or run with what another one needed.
        let fixture = Fixture::new();
        let numpy = fixture.of(&spec("3", &["numpy"])).unwrap();
        assert_eq!(numpy.build.len(), 4);
        assert_eq!(fixture.of(&spec("", &["numpy"])).unwrap().program, numpy.program, "python3 is what there is");
        let code = |text: &str, lines: &[&str]| JobSpec { code_sha256: text.into(), ..spec("3", lines) };
        assert_eq!(fixture.of(&code("a", &["numpy"])).unwrap().program, numpy.program);
        assert_ne!(fixture.of(&spec("3", &["numpy==2"])).unwrap().program, numpy.program);
        let local = |text| fixture.of(&code(text, &["./own"])).unwrap().program;
        assert_ne!(local("a"), local("b"), "what is in the code changes with it");
        let environment = Path::new(&numpy.program).parent().and_then(Path::parent).unwrap();
        fs::create_dir_all(environment).unwrap();
        assert_eq!(fixture.of(&spec("3", &["numpy"])).unwrap(), numpy, "one that is not whole is made");
        let ready = fs::File::create(environment.join(READY)).unwrap();
        ready.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(fixture.of(&spec("3", &["numpy"])).unwrap(), Python { build: Vec::new(), ..numpy });
        let used = ready.metadata().unwrap().modified().unwrap();
        assert_ne!(used, std::time::UNIX_EPOCH, "what was used just now is not cleared away as the oldest");
    }

    #[test]
    fn requirements_that_cannot_be_used_are_refused_by_name() {
        let fixture = Fixture::new();
        assert!(fixture.of(&file("needs.txt")).unwrap_err().contains("no file 'needs.txt'"));
        assert!(fixture.of(&file("../needs.txt")).unwrap_err().contains("no file"));
        fs::write(fixture.folder.path().join("attempt").join("work").join("needs.txt"), "numpy\n").unwrap();
        let numpy = fixture.of(&spec("3", &["numpy"])).unwrap().program;
        assert_eq!(fixture.of(&file("needs.txt")).unwrap().program, numpy, "the same, written in another place");
        assert!(fixture.of(&spec("3", &["-e ."])).unwrap_err().contains("leave -e out"));
    }

    impl Fixture {
        /// Writes files of the code.
        fn code(&self, files: &[(&str, &[u8])]) {
            for (name, bytes) in files {
                fs::write(self.folder.path().join("attempt/work").join(name), bytes).unwrap();
            }
        }
    }

    fn file(name: &str) -> JobSpec {
        JobSpec { requirements_file: name.into(), ..spec("3", &[]) }
    }

    #[test]
    fn a_file_is_read_by_its_mark_and_one_that_is_no_text_is_the_users_fault() {
        // It was taken for a fault of the machine: the run was starting for ever.
        let fixture = Fixture::new();
        let numpy = fixture.of(&spec("3", &["numpy"])).unwrap().program;
        let wide = |bytes: fn(u16) -> [u8; 2]| "\u{feff}numpy\r\n".encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        for bytes in [wide(u16::to_le_bytes), wide(u16::to_be_bytes), "\u{feff}numpy\n".into()] {
            fixture.code(&[("needs.txt", &bytes)]);
            assert_eq!(fixture.of(&file("needs.txt")).unwrap().program, numpy, "{bytes:?}");
        }
        for bytes in [&b"numpy # f\xfcr alle"[..], b"\xff\xfen\0u", b"\xff\xfe\0\0n\0\0\0"] {
            fixture.code(&[("needs.txt", bytes)]);
            let refused = fixture.of(&file("needs.txt")).unwrap_err();
            assert!(refused.contains("needs.txt' is not UTF-8"), "{refused}");
        }
    }

    #[test]
    fn an_editable_one_is_refused_however_it_is_written() {
        // The environment was kept for others, and led into the folder of an attempt that was gone.
        let fixture = Fixture::new();
        fixture.code(&[
            ("more.txt", b"numpy\n-e .\n"),
            ("deep.txt", b"-c 'more.txt'"),
            ("mark.txt", b"\xef\xbb\xbf-e ."),
        ]);
        fixture.code(&[
            ("round.txt", b"-r round.txt\nnumpy"),
            ("\u{e9}.txt", b"x\xff"),
            ("other.txt", b"-r\xc3\xa9.txt"),
        ]);
        for text in ["-e .", "-e.", "--edit .", "--ed=.", "--pre -e .", "--edi\\\ntable .", "-r more.txt", "-rdeep.txt"]
        {
            fixture.code(&[("needs.txt", text.as_bytes())]);
            assert!(fixture.of(&file("needs.txt")).is_err_and(|why| why.contains("leave -e out")), "{text}");
        }
        assert!(fixture.of(&file("mark.txt")).unwrap_err().contains("leave -e out"));
        assert!(fixture.of(&file("other.txt")).unwrap_err().contains("is not UTF-8"));
        assert!(fixture.of(&file("round.txt")).is_ok(), "pip says what it thinks of it");
        for text in ["numpy # -e .", "--extra-index-url https://a/", "tensorflow-e", "-r absent.txt", "-r https://a/b"]
        {
            fixture.code(&[("needs.txt", text.as_bytes())]);
            assert!(fixture.of(&file("needs.txt")).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_file_of_the_code_makes_another_environment_with_other_code() {
        // Two codes whose wheels have one name shared what the first of them had installed.
        let fixture = Fixture::new();
        let of = |code: &str, line: &str| {
            fixture.of(&JobSpec { code_sha256: code.into(), ..spec("3", &[line]) }).unwrap().program
        };
        for line in ["own-1.0-py3-none-any.whl", "own.tar.gz[fast] ; python_version > '3'", "own.ZIP  # ours"] {
            assert_ne!(of("a", line), of("b", line), "{line}");
        }
        assert_eq!(of("a", "numpy"), of("b", "numpy"));
    }

    #[test]
    fn a_build_gets_indexes_proxies_and_certificates_and_no_more() {
        let names =
            ["PIP_INDEX_URL", "https_proxy", "NO_PROXY", "SSL_CERT_FILE", "TRIALOG_NODE_TOKEN", "PIP_USER", "A"];
        let kept = build_variables(names.iter().map(|name| ((*name).to_owned(), "x".to_owned())));
        assert_eq!(kept.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names[..4]);
    }
}
