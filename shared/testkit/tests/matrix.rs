//! The fault matrix in `loadtests/README.md` names tests that there are.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(&path).expect("a source"));
        }
    }
}

#[test]
fn every_test_of_the_fault_matrix_is_there() {
    let page = fs::read_to_string(root().join("loadtests/README.md")).expect("the page");
    let (_, matrix) = page.split_once("## The fault matrix").expect("the matrix");
    let mut all = String::new();
    for folder in ["services", "shared"] {
        sources(&root().join(folder), &mut all);
    }
    let cells = matrix.lines().filter_map(|line| line.strip_prefix("| ")?.rsplit("| ").next());
    let names: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 30, "{} names", names.len());
    // Of tests that a macro runs on each store the name stands in its list.
    let gone: Vec<_> = names.iter().filter(|name| name.len() > 20 && !all.contains(&format!("fn {name}("))).collect();
    assert!(gone.is_empty(), "no tests of these names: {gone:#?}");
}
