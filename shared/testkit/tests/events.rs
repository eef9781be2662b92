//! docs/events.md lists every fact that a service publishes with its fields, as the proto files have them, and every
//! header of a record.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by a panic too")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const SERVICES: [&str; 5] = ["compute", "models", "runs", "sweeps", "workspaces"];
/// What follows it is made by this test.
const MADE: &str =
    "<!-- Made of the proto files by shared/testkit/tests/events.rs: run it with TRIALOG_UPDATE=1. -->\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A message of a proto file.
#[derive(Debug, PartialEq)]
struct Message {
    name: String,
    comment: String,
    fields: Vec<String>,
}

/// The messages of a proto file in order; a field is its name and type.
fn messages(text: &str) -> Vec<Message> {
    let (mut found, mut comment): (Vec<Message>, String) = (Vec::new(), String::new());
    let mut inside = false;
    for line in text.lines() {
        let code = line.trim();
        if let Some(words) = code.strip_prefix("//") {
            if !inside {
                let joint = if comment.is_empty() { "" } else { " " };
                comment = format!("{comment}{joint}{}", words.trim());
            }
            continue;
        }
        if let Some(head) = code.strip_prefix("message ") {
            let (name, body) = head.split_once('{').unwrap();
            let name = name.trim().to_owned();
            found.push(Message { name, comment: std::mem::take(&mut comment), fields: Vec::new() });
            let fields = body.trim_end_matches('}');
            found.last_mut().unwrap().fields.extend(fields.split(';').filter_map(field));
            inside = !body.contains('}');
        } else if inside && !code.starts_with('}') {
            found.last_mut().unwrap().fields.extend(code.split(';').filter_map(field));
        } else {
            inside &= !code.starts_with('}');
            comment.clear();
        }
    }
    found
}

/// `name` and its type of `type name = 1`.
fn field(code: &str) -> Option<String> {
    let (declared, number) = code.split("//").next()?.split_once('=')?;
    number.split_whitespace().next()?.parse::<u32>().ok()?;
    let (kind, name) = declared.trim().rsplit_once(' ')?;
    let kind = kind.replace("trialog.compute.v1.", "").replace("optional ", "");
    Some(if kind == "string" { format!("`{name}`") } else { format!("`{name}` {}", kind.replace('<', "\\<")) })
}

/// The text of what makes facts of a service's events.
fn publishers(service: &str) -> String {
    let folder = root().join(format!("services/{service}/src"));
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("publish"));
    files.map(|path| fs::read_to_string(path).unwrap()).collect()
}

fn page() -> String {
    let mut page = String::new();
    for service in SERVICES {
        let proto = root().join(format!("proto/trialog/{service}/v1/{service}_facts.proto"));
        let (publishers, text) = (publishers(service), fs::read_to_string(proto).unwrap());
        write!(page, "\n## trialog.{service}.v1\n\n| type | fields | |\n|---|---|---|\n").unwrap();
        let is_fact = |message: &Message| publishers.contains(&format!("\"{}\"", message.name));
        for Message { name, comment, fields } in messages(&text).iter().filter(|message| is_fact(message)) {
            writeln!(page, "| {name} | {} | {comment} |", fields.join(", ")).unwrap();
        }
    }
    page
}

#[test]
fn every_fact_is_listed_with_its_fields() {
    let path = root().join("docs/events.md");
    let committed = fs::read_to_string(&path).unwrap();
    let (head, made) = committed.split_once(MADE).expect("the line that says what is made");
    let page = page();
    if std::env::var_os("TRIALOG_UPDATE").is_some() {
        fs::write(&path, format!("{head}{MADE}{page}")).unwrap();
        return;
    }
    assert!(page.matches("\n| ").count() > 35, "facts were found: {page}");
    assert!(made == page, "docs/events.md is not what the proto files say: run this test with TRIALOG_UPDATE=1");
}

#[test]
fn every_header_is_listed() {
    let (page, code) = (root().join("docs/events.md"), root().join("shared/feed/src/kafka/record.rs"));
    let (page, code) = (fs::read_to_string(page).unwrap(), fs::read_to_string(code).unwrap());
    let headers = code.split("let headers = [").nth(1).and_then(|rest| rest.split("];").next()).unwrap();
    let names = headers.lines().filter_map(|line| line.trim().strip_prefix("(\"")?.split('"').next());
    let names: Vec<_> = names.collect();
    assert!(names.len() > 10, "{names:?}");
    let absent: Vec<_> = names.iter().filter(|name| !page.contains(&format!("\n| `{name}` |"))).collect();
    assert!(absent.is_empty(), "docs/events.md says nothing of the headers {absent:?}");
}

#[test]
fn messages_are_read_with_what_is_written_over_them() {
    let text = "// Of a file.\n\n// It ended.\n// Well.\nmessage A {\n  // Of a field.\n  optional uint32 one = 1;\n  \
                string two = 2; // why\n}\nenum E {\n  NONE = 0;\n}\nmessage B { map<string, double> c = 1; }\n";
    let message = |name: &str, comment: &str, fields: &[&str]| Message {
        name: name.to_owned(),
        comment: comment.to_owned(),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
    };
    let wanted =
        [message("A", "It ended. Well.", &["`one` uint32", "`two`"]), message("B", "", &["`c` map\\<string, double>"])];
    assert_eq!(messages(text), wanted);
}
