//! The Dockerfile.

use std::path::Path;
use std::process::{Command, Stdio};

use trialog_testkit::python_with;

use crate::{deploy, read, verdict};

/// What hadolint says of a Dockerfile.
fn linted(python: &Path, text: &str) -> (bool, String) {
    // Installed with the other checkers.
    let program = python.with_file_name("hadolint");
    let mut child = Command::new(&program)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    std::io::Write::write_all(&mut child.stdin.take().expect("its input"), text.as_bytes()).expect("it reads");
    verdict(&child.wait_with_output().expect("its end"))
}

#[test]
fn the_image_has_everything_that_releases_have_and_runs_as_nobody_special() {
    let Some(python) = python_with(&["check_jsonschema"]) else { return };
    let file = read(&deploy("docker/Dockerfile"));
    assert_eq!(linted(&python, &file), (true, String::new()));
    let (is_well, found) = linted(&python, &file.replace("USER 10001:10001\n", "USER root\n"));
    assert!(!is_well && found.contains("DL3002"), "the last user is root: {found}");

    let makefile = read(&deploy("../Makefile"));
    let release = makefile.lines().find_map(|line| line.strip_prefix("RELEASE := ")).expect("what releases have");
    assert!(file.contains(&format!("--profile dist --features {release} ")), "{release}");
    let manifest: toml::Table = read(&deploy("../services/trialog/Cargo.toml")).parse().expect("a manifest");
    let mut features: Vec<&str> = release.split(',').collect();
    features.sort_unstable();
    let mut all: Vec<&str> = manifest["features"].as_table().expect("features").keys().map(String::as_str).collect();
    all.sort_unstable();
    assert_eq!(features, all, "releases have every feature");
    let workspace: toml::Table = read(&deploy("../Cargo.toml")).parse().expect("a manifest");
    let version = workspace["workspace"]["package"]["rust-version"].as_str().expect("a version");
    assert!(file.contains(&format!("FROM rust:{version}-slim-bookworm AS build\n")), "{version}");
}
