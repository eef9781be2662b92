//! The rules of the house, executed: sizes, names, import edges, no ambient time or randomness, a file for each event
//! version.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the house has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy_rules/names.rs"]
mod names;
#[path = "tidy_rules/services.rs"]
mod services;
#[path = "tidy_rules/stores.rs"]
mod stores;
#[path = "tidy_rules/uses.rs"]
mod uses;

/// A reader keeps a file in mind up to here.
const FILE_LINES_MAX: usize = 500;
/// A function fits a screen.
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARACTERS_MAX: usize = 120;
/// The shared words stay few (ARCHITECTURE: the crate that everybody imports has a ceiling).
const VOCABULARY_LINES_MAX: usize = 1500;
const BANNED_FILE_NAMES: [&str; 6] = ["utils", "common", "helpers", "misc", "manager", "base"];

/// Who may import whom; everything absent is forbidden.
const EDGES: &[(&str, &[&str])] = &[
    ("vocabulary", &[]),
    ("documents", &["vocabulary"]),
    ("tuning", &["vocabulary"]),
    ("contracts", &["vocabulary"]),
    ("eventlog", &["vocabulary"]),
    ("runtime", &["vocabulary"]),
    ("feed", &["eventlog", "contracts", "vocabulary", "runtime"]),
    ("calls", &["eventlog", "contracts", "vocabulary"]),
    ("workspaces", SERVICE),
    ("runs", SERVICE),
    ("models", SERVICE),
    ("compute", SERVICE),
    ("sweeps", &["vocabulary", "documents", "contracts", "eventlog", "feed", "calls", "runtime", "tuning"]),
    ("gateway", &["vocabulary", "documents", "contracts", "runtime"]),
    ("agent", &["vocabulary", "contracts", "runtime"]),
    ("inference", &["vocabulary", "contracts", "runtime"]),
    ("testkit", &["vocabulary", "eventlog", "feed", "runtime"]),
];
const SERVICE: &[&str] = &["vocabulary", "documents", "contracts", "eventlog", "feed", "calls", "runtime"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn files(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let skipped =
                name.starts_with('.') || name.starts_with("target") || name == "__pycache__" || name == "trialog-data";
            if !skipped {
                files(&path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

fn rust_files() -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    for folder in ["shared", "services", "loadtests"] {
        if root.join(folder).exists() {
            files(&root.join(folder), &[".rs"], &mut found);
        }
    }
    found.sort();
    let shown = |path: &PathBuf| path.strip_prefix(&root).unwrap().display().to_string();
    found.iter().map(|path| (shown(path), fs::read_to_string(path).unwrap())).collect()
}

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// The folders whose lines may be printed as a test or a command that ends at once prints them.
const PRINTING: [&str; 6] =
    ["/tests/", "/benches/", "build.rs", "shared/testkit/", "loadtests/", "trialog/src/client/"];

#[test]
fn what_lives_on_prints_without_a_panic() {
    // println! and eprintln! panic when the line cannot be written: a full disk would end whatever has a line to print.
    let mut faults = Vec::new();
    for (path, text) in rust_files() {
        if PRINTING.iter().any(|part| path.contains(part)) || path.ends_with("tests.rs") {
            continue;
        }
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let prints = |line: &str| line.contains("println!(") || line.contains("print!(");
        let found = text.lines().enumerate().filter(|(_, line)| prints(line) && !line.trim_start().starts_with("//"));
        faults
            .extend(found.map(|(number, _)| format!("{path}:{}: use runtime::print_line or print_error", number + 1)));
    }
    report(&faults);
}

#[test]
fn files_functions_and_lines_are_short() {
    // A house whose rooms are too large is one that nobody can find their way in.
    let mut faults = Vec::new();
    for (path, text) in rust_files() {
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > FILE_LINES_MAX {
            faults.push(format!("{path}: {} lines, at most {FILE_LINES_MAX}", lines.len()));
        }
        if !text.starts_with("//!") {
            faults.push(format!("{path}: opens without //! saying what it is"));
        }
        for (number, line) in lines.iter().enumerate() {
            if line.chars().count() > LINE_CHARACTERS_MAX {
                faults.push(format!("{path}:{}: {} characters", number + 1, line.chars().count()));
            }
        }
        faults.extend(long_functions(&path, &lines));
    }
    report(&faults);
}

/// A function ends at the first line that is a closing brace at the function's own indentation (rustfmt sees to that).
fn long_functions(path: &str, lines: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let head = code.trim_start_matches("pub ").trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
        let head = head.trim_start_matches("const ").trim_start_matches("async ");
        if !head.starts_with("fn ") || line.trim_end().ends_with(['}', ';']) {
            continue;
        }
        let indent = line.len() - code.len();
        let end = format!("{}}}", " ".repeat(indent));
        let length = lines[start..].iter().position(|line| **line == *end).map_or(0, |length| length + 1);
        if length > FUNCTION_LINES_MAX {
            faults.push(format!("{path}:{}: a function of {length} lines, at most {FUNCTION_LINES_MAX}", start + 1));
        }
    }
    faults
}

#[test]
fn names_say_what_a_file_does() {
    // "utils" is where things go to be forgotten.
    let faults: Vec<_> = rust_files()
        .iter()
        .filter(|(path, _)| {
            Path::new(path).components().any(|part| {
                let name = part.as_os_str().to_string_lossy();
                BANNED_FILE_NAMES.contains(&name.trim_end_matches(".rs"))
            })
        })
        .map(|(path, _)| format!("{path}: a name that says nothing"))
        .collect();
    report(&faults);
}

#[test]
fn the_vocabulary_stays_small() {
    // What everybody imports, everybody waits for.
    let total: usize = rust_files()
        .iter()
        .filter(|(path, _)| path.starts_with("shared/vocabulary/src"))
        .map(|(_, text)| text.lines().count())
        .sum();
    assert!(total <= VOCABULARY_LINES_MAX, "vocabulary has {total} lines, at most {VOCABULARY_LINES_MAX}");
}

#[test]
fn crates_import_along_the_edges_only() {
    // A service that imports another can no longer be split from it.
    let root = root();
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let ours: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    let mut faults = Vec::new();
    for folder in ["shared", "services"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let Ok(text) = fs::read_to_string(path.join("Cargo.toml")) else { continue };
            if name == "trialog" {
                continue; // the binary wires everything
            }
            let manifest: toml::Table = text.parse().unwrap();
            let Some(edges) = allowed.get(name.as_str()) else {
                faults.push(format!("{folder}/{name}: unknown crate; add it to the edges, and why to CONTRIBUTING.md"));
                continue;
            };
            let empty = toml::Table::new();
            let dependencies = manifest.get("dependencies").and_then(|table| table.as_table()).unwrap_or(&empty);
            for dependency in dependencies.keys().filter(|dependency| ours.contains(dependency.as_str())) {
                if !edges.contains(&dependency.as_str()) {
                    faults.push(format!("{folder}/{name} imports {dependency}"));
                }
            }
        }
    }
    report(&faults);
}

/// The code of a file before its tests: the test module is the last thing in a file here.
fn before_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn is_test_file(path: &str) -> bool {
    path.contains("/tests/")
        || path.contains("_tests/")
        || path.contains("tests.rs")
        || path.contains("/benches/")
        || path.starts_with("shared/testkit/")
}

#[test]
fn time_and_randomness_come_in_as_parameters() {
    // A hidden clock makes a decision that cannot be replayed.
    const AMBIENT: [&str; 7] = [
        "Timestamp::now",
        "Zoned::now",
        "SystemTime::now",
        "Instant::now",
        "Uuid::now_v7",
        "Uuid::new_v4",
        "rand::rng",
    ];
    let mut faults = Vec::new();
    for (path, text) in rust_files() {
        let exempt = path.starts_with("shared/runtime/") || path.starts_with("loadtests/") || is_test_file(&path);
        for (number, line) in before_tests(&text).lines().enumerate() {
            let is_code = !line.trim_start().starts_with("//");
            if !exempt && is_code && AMBIENT.iter().any(|name| line.contains(name)) {
                faults.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    report(&faults);
}

#[test]
fn the_tuner_uses_exact_mathematics() {
    // exp of one libc and of another differ in the last bit: a suggestion could not be recomputed elsewhere.
    const INEXACT: [&str; 9] =
        [".exp(", ".ln(", ".powf(", ".mul_add(", ".log2(", ".log10(", ".sin(", ".cos(", ".exp_m1("];
    let mut faults = Vec::new();
    for (path, text) in rust_files() {
        if path.starts_with("shared/tuning/src") {
            for (number, line) in before_tests(&text).lines().enumerate() {
                if INEXACT.iter().any(|name| line.contains(name)) {
                    faults.push(format!("{path}:{}: {}", number + 1, line.trim()));
                }
            }
        }
    }
    report(&faults);
}

#[test]
fn nothing_unwraps_outside_tests() {
    // A panic without a reason is a crash that nobody can explain.
    let mut faults = Vec::new();
    for (path, text) in rust_files() {
        for (number, line) in before_tests(&text).lines().enumerate() {
            let is_code = !line.trim_start().starts_with("//");
            if !is_test_file(&path) && is_code && line.contains(".unwrap()") {
                faults.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    report(&faults);
}

/// Property tests of a file that are not run as all others are.
fn own_ways(text: &str) -> usize {
    const NEAR: usize = 160;
    let runs = text.split("proptest! {").skip(1);
    let others = runs.filter(|after| !after.chars().take(NEAR).collect::<String>().contains("properties(")).count();
    others + ["ProptestConfig::", "TestRunner::"].iter().map(|own| text.matches(own).count()).sum::<usize>()
}

#[test]
fn property_tests_run_from_the_committed_seed() {
    // A test that draws its own seed fails one day for somebody who has changed nothing.
    let drawn = "proptest! {\n    #[test]\n    fn f(x in 0..9) {}\n}";
    assert_eq!((own_ways(drawn), own_ways("#![proptest_config(ProptestConfig::with_cases(9))]")), (1, 1));
    assert_eq!(own_ways("proptest! {\n    #![proptest_config(testkit::properties(9))]\n"), 0);
    let faults: Vec<_> = rust_files()
        .iter()
        .filter(|(path, _)| path != "shared/testkit/tests/tidy.rs")
        .map(|(path, text)| (path, own_ways(text)))
        .filter(|(_, own)| *own > 0)
        .map(|(path, own)| format!("{path}: {own} property tests without testkit::properties"))
        .collect();
    report(&faults);
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    for (path, _) in
        rust_files().iter().filter(|(path, text)| text.contains("proptest! {") && !path.starts_with("shared/testkit/"))
    {
        let name = path.split('/').nth(1).unwrap();
        assert!(makefile.contains(&format!("-p trialog-{name}")), "{path}: `make torture` does not run {name}");
    }
}

#[test]
fn every_event_version_has_its_file() {
    // Without the old file nobody would notice that a build has forgotten how to read it.
    let planted = "vocabulary::stored_events! {\n    pub enum E { Old: 1, New: 2 upcast new,\n    }\n}\n";
    assert_eq!(stored_versions(planted), [("Old", 1), ("New", 1), ("New", 2)]);
    let root = root();
    let (mut faults, mut versions) = (Vec::new(), 0);
    for (path, text) in rust_files().iter().filter(|(path, _)| path.starts_with("services/") && !is_test_file(path)) {
        let service = path.split('/').take(2).collect::<Vec<_>>().join("/");
        for (kind, schema) in stored_versions(before_tests(text)) {
            versions += 1;
            let file = format!("{service}/testdata/events/{kind}.{schema}.json");
            if !root.join(&file).exists() {
                faults.push(format!("{file} is missing"));
            }
        }
    }
    report(&faults);
    assert!(versions > 80, "only {versions} versions were found: the reader of stored_events! is broken");
}

/// Every version of every event that a file declares.
fn stored_versions(text: &str) -> Vec<(&str, u32)> {
    let mut versions = Vec::new();
    for declared in text.split("stored_events!").skip(1) {
        let Some((head, _)) = declared.split_once("}\n") else { break };
        let body = head.split_once("enum").and_then(|(_, after)| after.split_once('{')).map_or("", |(_, body)| body);
        for (kind, schema) in body.split(',').filter_map(|entry| entry.trim().trim_end_matches('}').split_once(':')) {
            let schema = schema.split_whitespace().next().and_then(|schema| schema.parse().ok());
            let newest: u32 = schema.unwrap_or_else(|| panic!("{kind}: its schema is no number"));
            versions.extend((1..=newest).map(|schema| (kind.trim(), schema)));
        }
    }
    versions
}

#[test]
fn the_readme_names_the_two_commands_and_stays_short() {
    // It is the first page that a newcomer reads.
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(text.contains("make demo") && text.contains("make test"));
    assert!(text.lines().count() < 200, "README has {} lines", text.lines().count());
}
