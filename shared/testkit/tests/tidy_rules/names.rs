//! The words of the house, executed: names in code are the field's (tell, population, exploit, initial design, basis),
//! not ours.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Parts of names that the field does not use, with their inflections.
const BANNED_PARTS: [&str; 20] = [
    "said", "saying", "says", "told", "hear", "hears", "heard", "hearing", "breed", "breeds", "bred", "nursery",
    "founder", "founders", "founding", "opening", "openings", "hopeless", "ground", "grounds",
];
/// Names of modules that say nothing of what is in them.
const BANNED_MODULES: [&str; 3] = ["inner", "words", "shown"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The files below a folder whose names have an ending, by their path from the root. Tests are sentences, whose names
/// are free.
fn files(folder: &str, ending: &str, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        if root().join(&path).is_dir() {
            if !["target", "tests", "benches", "examples", "node_modules"].contains(&name.as_str()) {
                files(&path, ending, found);
            }
        } else if name.ends_with(ending) && !name.ends_with("tests.rs") {
            found.push((path.clone(), fs::read_to_string(root().join(&path)).unwrap()));
        }
    }
}

/// The identifiers of a Rust text with their lines, without comments, texts and the module of tests at its end.
fn identifiers(text: &str) -> Vec<(usize, String)> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let (mut found, mut line, mut rest) = (Vec::new(), 1, text);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => text_length(rest),
            '\'' => character_length(rest),
            'r' if rest.starts_with("r\"") || rest.starts_with("r#\"") => raw_length(rest),
            _ if first.is_alphabetic() || first == '_' => {
                let end = |c: char| !c.is_alphanumeric() && c != '_';
                let length = rest.find(end).unwrap_or(rest.len());
                found.push((line, rest[..length].to_owned()));
                length
            }
            _ => first.len_utf8(),
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

fn text_length(rest: &str) -> usize {
    let mut escaped = false;
    let end = rest.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(rest.len(), |(at, _)| at + 1)
}

/// A character has its closing quote behind one character or an escape; a lifetime has none.
fn character_length(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => rest[2..].find('\'').map_or(rest.len(), |end| (end + 3).min(rest.len())),
        Some((at, c)) if rest[at + c.len_utf8()..].starts_with('\'') => at + c.len_utf8() + 1,
        _ => 1,
    }
}

fn raw_length(rest: &str) -> usize {
    let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
    let end = format!("\"{}", "#".repeat(hashes));
    rest[hashes + 2..].find(&end).map_or(rest.len(), |at| hashes + 2 + at + end.len())
}

/// `NeedsSuggestion`, `needs_suggestion` and `NEEDS_SUGGESTION` have the parts needs and suggestion.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut before_lower = false;
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && before_lower) {
            parts.push(String::new());
        }
        before_lower = c.is_lowercase() || c.is_numeric();
        if c != '_' {
            parts.last_mut().unwrap().extend(c.to_lowercase());
        }
    }
    parts
}

/// What is wrong with the names of a file; `wire` are those of proto/, which stay as they are.
fn faults(path: &str, text: &str, wire: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let module = path.trim_end_matches("/mod.rs").trim_end_matches(".rs").rsplit('/').next().unwrap();
    if parts(module).iter().any(|part| BANNED_MODULES.contains(&part.as_str())) {
        faults.push(format!("{path}: the module's name says nothing"));
    }
    for (line, name) in identifiers(text) {
        if !wire.contains(&name) && parts(&name).iter().any(|part| BANNED_PARTS.contains(&part.as_str())) {
            faults.push(format!("{path}:{line}: {name}"));
        }
    }
    faults
}

fn wire_names() -> BTreeSet<String> {
    let mut protos = Vec::new();
    files("proto/trialog", ".proto", &mut protos);
    protos.iter().flat_map(|(_, text)| identifiers(text)).map(|(_, name)| name).collect()
}

#[test]
fn names_are_the_fields() {
    // Who knows the literature finds the code, and who reads the code finds the literature.
    let (wire, mut sources) = (wire_names(), Vec::new());
    files("shared", ".rs", &mut sources);
    files("services", ".rs", &mut sources);
    let faults: Vec<String> = sources.iter().flat_map(|(path, text)| faults(path, text, &wire)).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_rule_sees_planted_faults() {
    // A rule that never fires is none.
    let wire = BTreeSet::from(["ToldPoint".to_owned()]);
    let planted = "// said\nfn founders_of<'a>(x: &'a str) -> Saying { \"told \\\" \"; 'h'; r#\"\"hear\"#; Nursery {}; \
                   ToldPoint {}; \
                   background(heartbeat); hopeless(1) }\n#[cfg(test)]\nmod tests { fn told() }";
    let found = faults("services/x/src/endpoints_shown.rs", planted, &wire);
    let expected = ["endpoints_shown.rs: the module's name says nothing", "2: founders_of", "2: Saying", "2: Nursery"];
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.ends_with(expected), "{found} is not {expected}");
    }
    assert_eq!(found.len(), 5, "{found:?}");
}
