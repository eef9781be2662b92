//! docs/events.md lists every fact that a service publishes with its fields, as the proto files have them, and every
//! header of a record. What was published once stays as it is: programs elsewhere were compiled with it.

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

/// `type name` and the number of `type name = 1`; `NAME` of an enum's value.
fn numbered(code: &str) -> Option<(&str, u32)> {
    let (declared, number) = code.split("//").next()?.split_once('=')?;
    Some((declared.trim(), number.split_whitespace().next()?.parse().ok()?))
}

/// `name` and its type of `type name = 1`.
fn field(code: &str) -> Option<String> {
    let (kind, name) = numbered(code)?.0.rsplit_once(' ')?;
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

/// What other programs are compiled with: facts, what they share, and what carries them over gRPC.
fn published() -> Vec<PathBuf> {
    let proto = root().join("proto/trialog");
    let facts = SERVICES.iter().map(|service| proto.join(format!("{service}/v1/{service}_facts.proto")));
    facts.chain([proto.join("compute/v1/job.proto"), proto.join("feed/v1/feed_service.proto")]).collect()
}

/// Every field and every value of an enum in a proto file: `PACKAGE.MESSAGE NUMBER TYPE NAME`.
fn shapes(text: &str) -> Vec<String> {
    let code = text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join(" ");
    let package = code.split("package ").nth(1).and_then(|rest| rest.split(';').next()).expect("a package");
    let mut found = Vec::new();
    let blocks = code.split('}').filter_map(|block| block.rsplit_once('{'));
    for (head, body) in blocks {
        let words: Vec<&str> = head.split_whitespace().rev().take(2).collect();
        if let [name, "message" | "enum"] = words[..] {
            let fields = body.split(';').filter_map(numbered);
            found.extend(fields.map(|(declared, number)| format!("{package}.{name} {number} {declared}")));
        }
    }
    found
}

#[test]
fn what_was_published_once_stays_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/published/facts.txt");
    let once = fs::read_to_string(&path).unwrap_or_default();
    let once: Vec<&str> = once.lines().collect();
    let now: Vec<String> = published().iter().flat_map(|path| shapes(&fs::read_to_string(path).unwrap())).collect();
    let lost: Vec<_> = once.iter().filter(|line| !now.iter().any(|shape| shape == *line)).collect();
    assert!(
        lost.is_empty(),
        "other programs read facts by these fields, which went or got another number, name or type: {lost:#?}; a \
         field that is of no use any more stays and is left empty, what is new gets a new number"
    );
    if std::env::var_os("TRIALOG_UPDATE").is_some() {
        fs::write(&path, now.join("\n") + "\n").unwrap();
        return;
    }
    assert!(now.len() > 200, "fields were found: {now:?}");
    let new: Vec<_> = now.iter().filter(|shape| !once.contains(&shape.as_str())).collect();
    assert!(new.is_empty(), "{new:#?} will be published: run this test with TRIALOG_UPDATE=1");
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
    let shaped = [".A 1 optional uint32 one", ".A 2 string two", ".E 0 NONE", ".B 1 map<string, double> c"];
    assert_eq!(shapes(&format!("package p.v1;{text}")), shaped.map(|shape| format!("p.v1{shape}")));
    let wanted =
        [message("A", "It ended. Well.", &["`one` uint32", "`two`"]), message("B", "", &["`c` map\\<string, double>"])];
    assert_eq!(messages(text), wanted);
}
