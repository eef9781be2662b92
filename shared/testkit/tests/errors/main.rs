//! Every code that Trialog refuses, warns or ends with is in the table, each with its text and with what triggers it;
//! docs/errors.md is made of the table.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by a panic too")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Home, Options, Server, Watchdog};

const TABLE: &str = include_str!("codes.toml");
/// For all requests.
const LIMIT: Duration = Duration::from_secs(120);
/// Names that stand where codes do and are none: states, an event, the default experiment, a reason between router and
/// worker.
const NO_CODES: [&str; 8] =
    ["Archived", "DeadlineExceeded", "Default", "Deleted", "EarlyStopped", "Queued", "TrialStopRequested", "Watermark"];
/// What stands before a code.
const BEFORE: [&str; 18] = [
    "Problem::new(",
    "Self::new(",
    "conflict(",
    "unavailable(",
    "invalid(",
    "refuse(",
    "refuse_as(",
    "warn(",
    "one_of(",
    "integer_as(",
    "FieldError::new(",
    "Issue::error(",
    "Issue::warning(",
    "self.error(",
    "self.warning(",
    "code: ",
    "wrong(",
    ": &str = ",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn table() -> Vec<Value> {
    let table: Value = toml::from_str(TABLE).expect("the table is TOML");
    table["code"].as_array().expect("codes").clone()
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_default()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if path.is_dir() {
            // The reference lists codes.
            if !["tests", "reference", "target", "testkit", "testdata"].contains(&name.as_str()) {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && path.to_string_lossy().contains("/src/") {
            found.push(path);
        }
    }
}

/// The codes in a text: PascalCase literals in the arguments of what makes errors.
fn codes_in(text: &str) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut found = BTreeSet::new();
    for before in BEFORE {
        for (at, _) in text.match_indices(before) {
            let rest = &text[at + before.len()..];
            // Of a call, its arguments; of a constant or a member, the value alone.
            let arguments = if before.ends_with('(') { rest.split(';').next().unwrap_or_default() } else { rest };
            let literal = arguments.split('"').skip(1).step_by(2).find(|literal| is_code(literal));
            let near = literal.filter(|literal| {
                let before_it = arguments.split(&format!("\"{literal}\"")).next().unwrap_or_default();
                // The code comes first, or behind a status, a place and a field.
                before_it.matches('\n').count() <= 3 && before_it.len() < 160 && !before_it.contains("=>")
            });
            found.extend(near.map(str::to_owned));
        }
    }
    found
}

fn is_code(literal: &str) -> bool {
    literal.len() > 3
        && literal.starts_with(|c: char| c.is_ascii_uppercase())
        && literal.chars().nth(1).is_some_and(|c| c.is_ascii_lowercase())
        && literal.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[test]
fn every_code_is_in_the_table_and_the_table_has_no_other() {
    let mut paths = Vec::new();
    for part in ["services", "shared"] {
        sources(&root().join(part), &mut paths);
    }
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut all = String::new();
    for path in paths {
        let content = fs::read_to_string(&path).unwrap();
        let shown = path.strip_prefix(root()).unwrap().display().to_string();
        codes_in(&content).into_iter().for_each(|code| drop(found.insert(code, shown.clone())));
        all.push_str(&content);
    }
    NO_CODES.iter().for_each(|name| drop(found.remove(*name)));
    let rows = table();
    let listed: Vec<&str> = rows.iter().map(|row| text(row, "code")).collect();
    assert!(listed.windows(2).all(|pair| pair[0] < pair[1]), "the table is sorted");
    let unlisted: Vec<_> = found.iter().filter(|(code, _)| !listed.contains(&code.as_str())).collect();
    assert!(unlisted.is_empty(), "not in the table: {unlisted:#?}");
    let gone: Vec<_> = listed.iter().filter(|code| !all.contains(&format!("\"{code}\""))).collect();
    assert!(gone.is_empty(), "no code any more: {gone:?}");
}

#[test]
fn every_code_is_triggered_by_a_test() {
    let door = root().join("shared/testkit/tests/door");
    let rows = ["compat", "space", "sweep", "transport", "trial"].map(|name| door.join(format!("{name}.toml")));
    let rows: String = rows.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let mut faults = Vec::new();
    for row in table() {
        let code = text(&row, "code");
        let literal = format!("\"{code}\"");
        let good = match text(&row, "test").split_once("::") {
            Some((path, name)) => {
                let content = fs::read_to_string(root().join(path)).unwrap_or_default();
                let body = content.split(&format!("fn {name}")).nth(1).unwrap_or_default();
                body.split("\n}\n").next().is_some_and(|body| body.contains(&literal))
            }
            None if row["door"] == true => rows.contains(&literal),
            None => row["request"].is_object(),
        };
        if !good {
            faults.push(format!("{code}: {row}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_requests_of_the_table_are_refused_with_their_codes() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "errors");
    let server = Server::start(Options::up(&home));
    let client = server.client();
    let still = json!({"vm_size": "D2", "scale": {"max_nodes": 1}, "provider": {"boot_seconds": 80_000}});
    client.put("clusters/still", &still);
    let with_model = |state: &str| {
        let run = client.post("runs", &json!({"experiment": "errors", "params": {"lr": "0.1"}})).expect(201);
        let run = text(&run, "run_id").to_owned();
        let weights = client.request("PUT", &format!("runs/{run}/artifacts/model/weights"));
        weights.body("application/octet-stream", "x").send().expect(201);
        client.patch(&format!("runs/{run}"), &json!({"state": state})).expect(200);
        run
    };
    let (run, failed_run) = (with_model("Completed"), with_model("Failed"));
    let version = json!({"run_id": run, "artifact_path": "model", "properties": {"size": "1"}});
    client.post("models/digits/versions", &version).expect(201);
    let job = json!({"experiment": "errors", "job": {"cluster": "still", "command": ["true"]}});
    let job_run = client.post("runs", &job).expect(201);
    let job_run = text(&job_run, "run_id");
    let mut faults = Vec::new();
    for row in table().iter().filter(|row| row["request"].is_object()) {
        let (code, request) = (text(row, "code"), &row["request"]);
        let filled = |name: &str| {
            let names = [("{run}", run.as_str()), ("{failed_run}", &failed_run), ("{job_run}", job_run)];
            names.iter().fold(text(request, name).to_owned(), |text, (name, id)| text.replace(name, id))
        };
        let (path, body) = (filled("path"), filled("body"));
        let mut asked = client.request(text(request, "method"), &path);
        if let [name, value] = request["header"].as_array().map_or(&[][..], Vec::as_slice) {
            asked = asked.header(name.as_str().unwrap_or_default(), value.as_str().unwrap_or_default());
        }
        let kind = if body.is_empty() { "" } else { "application/json" };
        let answer = asked.body(kind, body).once().send();
        let codes: Vec<String> = answer.errors().into_iter().map(|(code, _)| code).collect();
        let good = Some(u64::from(answer.status)) == request["status"].as_u64()
            && (answer.code() == code || codes.iter().any(|one| one == code))
            && row["status"].as_array().is_some_and(|all| all.contains(&request["status"]) || all[0] == "warning");
        if !good {
            faults.push(format!("{code}: {path}: {} {}", answer.status, answer.text()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for (path, meant) in [
        ("runs?state=runing", "Running"),
        ("sweeps?state=paused", "Paused"),
        ("models?view=hiden", "active, archived, all"),
        ("models?view=archive", "archived"),
        (&format!("runs/{run}/logs?stream=stderror"), "stderr"),
    ] {
        let detail = client.get(path).json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.contains(meant) && detail.contains("one of"), "{path}: {detail}");
        assert!(meant.contains(',') || detail.ends_with(&format!("did you mean {meant}?")), "{path}: {detail}");
    }
}

#[test]
fn a_body_that_ends_early_is_refused_as_that() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "a broken body");
    let server = Server::start(Options::up(&home));
    let address = server.url();
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
    let head = format!(
        "POST /api/v1/workspaces/default/runs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{{\"name\":",
        server.token()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let code = "BrokenBody";
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains(code) && answer.contains("the body ended early"),
        "{answer}"
    );
}

#[test]
fn the_page_is_the_one_that_the_table_makes() {
    // TRIALOG_UPDATE=1 writes it anew.
    let mut page = String::from(HEAD);
    for row in table() {
        let statuses = row["status"].as_array().unwrap().iter();
        let statuses: Vec<String> = statuses.map(|status| status.to_string().replace('"', "")).collect();
        page.push_str(&format!("| {} | {} | {} |\n", text(&row, "code"), statuses.join(", "), text(&row, "text")));
    }
    let path = root().join("docs/errors.md");
    if std::env::var_os("TRIALOG_UPDATE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "docs/errors.md is not what the table says: run this test with TRIALOG_UPDATE=1");
}

const HEAD: &str = "# Codes of refusals, warnings and ends

Every refusal is `application/problem+json` with a stable `code`, a `detail` in one sentence, and in `errors` everything
that is wrong in a document, each with the pointer to its place, what was received and what is allowed. Its `code` is
that of the first by the bytes of the pointers; its status that of the gravest: unknown fields (400) before values that
break a rule (422), things that are not there (404) and states that do not allow it (409). A warning is in
`warnings` of an answer or among a sweep's; `strict=true` makes refusals (422) of those of a document. An end is the
reason of a sweep that failed. `trialog explain sweep.limits` names the codes of each field. This page is generated from
`shared/testkit/tests/errors/codes.toml`.

| code | status | what it means, and what to do |
|---|---|---|
";
