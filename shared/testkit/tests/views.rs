//! The read models of an installation are made anew from its whole history, beside a server that runs: they are what
//! is read, and what was changed behind everybody's back is found, said and mended. In files, and on PostgreSQL.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use trialog_testkit::{Client, Fixture, Home, Options, Server, Watchdog, ask_and_tell, binary, external_sweep};

/// For everything: a debug build on a busy machine needs a fifth of it.
const LIMIT: Duration = Duration::from_secs(300);
const TRIALS: usize = 6;

/// Takes a row of each of these tables away: FILE TABLE...
const PLANT: &str = r#"
import sqlite3, sys
file, *tables = sys.argv[1:]
with sqlite3.connect(file, timeout=30) as log:
    for table in tables:
        key = [column[1] for column in log.execute(f"PRAGMA table_info({table})") if column[5]]
        row = log.execute(f"SELECT {', '.join(key)} FROM {table} LIMIT 1").fetchone()
        if row:
            log.execute(f"DELETE FROM {table} WHERE {' AND '.join(f'{name} = ?' for name in key)}", row)
            print(table)
"#;

/// A view's table, as the command says it is.
#[derive(Clone, Debug)]
struct Table {
    service: String,
    name: String,
    rows: u64,
    is_equal: bool,
    is_shared: bool,
}

struct Installation {
    home: Home,
    /// Flags that say where its logs are.
    flags: Vec<String>,
}

impl Installation {
    fn run(&self, words: &[&str]) -> (bool, String, String) {
        let mut command = Command::new(binary());
        command.args(words).arg("--data").arg(self.home.join("d")).args(&self.flags).stdin(Stdio::null());
        let done = command.output().unwrap_or_else(|error| panic!("{}: {error}", binary().display()));
        let [out, err] = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (done.status.success(), out, err)
    }

    /// Whether the command ended well, and the tables that it named.
    fn rebuild(&self, words: &[&str]) -> (bool, Vec<Table>) {
        let (is_done, out, err) = self.run(&[&["--output", "json", "views", "rebuild"], words].concat());
        let answer: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{words:?}: {out}{err}"));
        let text = |entry: &Value, name: &str| entry[name].as_str().expect("a text").to_owned();
        let table = |entry: &Value| Table {
            service: text(entry, "view").split_once('.').expect("SERVICE.VIEW").0.to_owned(),
            name: text(entry, "table"),
            rows: entry["rows"].as_u64().expect("a count"),
            is_equal: entry["equal"] == true,
            is_shared: entry["shared"] == true,
        };
        (is_done, answer["views"].as_array().expect("a list").iter().map(table).collect())
    }

    fn assert_equal(&self) -> Vec<Table> {
        let (is_done, tables) = self.rebuild(&["--check"]);
        let wrong: Vec<_> = tables.iter().filter(|table| !table.is_equal).collect();
        assert!(is_done && wrong.is_empty(), "{wrong:?}: {}", self.run(&["views", "rebuild", "--check"]).1);
        tables
    }

    /// Plants faults by `plant`, which answers the tables that had a row, and lets them be found and mended.
    fn find_and_mend(&self, tables: &[Table], plant: impl Fn(&str, &[&str]) -> Vec<String>) {
        let mut planted = Vec::new();
        for service in ["workspaces", "runs", "sweeps", "models", "compute"] {
            let own = tables.iter().filter(|table| table.service == service && !table.is_shared);
            let names: Vec<&str> = own.map(|table| table.name.as_str()).collect();
            planted.extend(plant(service, &names));
        }
        assert!(planted.len() >= 10, "rows of {planted:?}");
        let (is_done, checked) = self.rebuild(&["--check"]);
        let differs: Vec<String> =
            checked.iter().filter(|table| !table.is_equal).map(|table| table.name.clone()).collect();
        assert!(!is_done, "a check that finds something ends so");
        assert_eq!(differs, planted);
        let (_, told, _) = self.run(&["views", "rebuild", "--check", "sweeps"]);
        assert!(told.contains("1 missing, 0 of no event") && told.contains("missing: sweep_id="), "{told}");
        let (is_done, _) = self.rebuild(&["sweeps.sweeps_listed"]);
        assert!(is_done);
        let (_, checked) = self.rebuild(&["--check"]);
        let left: Vec<String> =
            checked.iter().filter(|table| !table.is_equal).map(|table| table.name.clone()).collect();
        assert_eq!(left.len() + 1, planted.len(), "only what was named is mended: {left:?}");
        let (is_done, mended) = self.rebuild(&[]);
        assert!(is_done && mended.iter().filter(|table| !table.is_equal).count() == left.len());
        let again = self.assert_equal();
        let rows = |tables: &[Table]| tables.iter().map(|table| table.rows).collect::<Vec<_>>();
        assert_eq!(rows(&again), rows(tables), "as many as before");
    }
}

/// What lists answer.
fn listed(client: &Client) -> Vec<Value> {
    ["sweeps", "runs", "models", "experiments"]
        .map(|noun| client.get(noun).expect(200))
        .map(|mut answer| {
            answer.as_object_mut().map(|fields| fields.remove("request_id"));
            answer
        })
        .into()
}

/// An installation of an older build, with what a server of this one adds; where its logs are in files.
fn made() -> Installation {
    let there = Installation { home: Home::new(), flags: Vec::new() };
    Fixture::of("629f652").unpack(&there.home);
    let (is_done, _, refused) = there.run(&["views", "rebuild", "--check"]);
    assert!(!is_done && refused.contains("trialog migrate"), "{refused}");
    let (is_done, _, err) = there.run(&["migrate"]);
    assert!(is_done, "{err}");
    // Rows of older builds may have other forms, which count as differences once.
    assert!(there.rebuild(&[]).0);
    there
}

#[test]
fn every_read_model_of_an_installation_is_what_its_events_tell_and_mended_beside_its_server() {
    let there = made();
    let _watchdog = Watchdog::new(LIMIT, there.home.path(), "views in files");
    let named = Command::new(binary()).args(["views", "list"]).output().expect("views list");
    let named = String::from_utf8_lossy(&named.stdout).into_owned();
    assert!(
        ["sweeps.sweeps_listed", "runs.run_rows", "compute.jobs"].iter().all(|view| named.contains(view)),
        "{named}"
    );
    let mut server = Server::start(Options::up(&there.home));
    let client = server.client();
    client.post("sweeps", &external_sweep("told", TRIALS)).expect(201);
    for _ in 0..TRIALS / 2 {
        ask_and_tell(&client, "told");
    }
    let tables = there.assert_equal();
    assert!(tables.iter().all(|table| named.contains(&table.name)), "{named}");
    let before = listed(&client);
    let plant = |service: &str, tables: &[&str]| {
        let file = there.home.join(&format!("d/db/{service}.sqlite"));
        let done = Command::new("python3").args(["-c", PLANT]).arg(file).args(tables).output().expect("python3");
        assert!(done.status.success(), "{service}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect()
    };
    there.find_and_mend(&tables, plant);
    assert_eq!(listed(&client), before, "what is read is as it was");
    for _ in TRIALS / 2..TRIALS {
        ask_and_tell(&client, "told");
    }
    client.assert_verified("sweeps/told");
    there.assert_equal();
    server.stop();
}

#[cfg(feature = "postgres")]
#[test]
fn the_same_of_an_installation_on_postgres() {
    use sqlx::{AssertSqlSafe, Connection, PgConnection};
    use trialog_testkit::{new_schema, postgres};

    let Some(url) = postgres() else { return };
    let mut there = made();
    let _watchdog = Watchdog::new(LIMIT, there.home.path(), "views on PostgreSQL");
    let in_files = there.assert_equal();
    let prefix = new_schema();
    let mut command = Command::new(binary());
    command.args(["move", "--to", &url, "--prefix", &prefix, "--from"]).arg(there.home.join("d"));
    let moved = command.stdin(Stdio::null()).output().expect("move");
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
    let config = there.home.write("trialog.toml", &format!("[store]\nurl = {url:?}\nprefix = {prefix:?}\n"));
    there.flags = vec!["--config".to_owned(), config.display().to_string()];
    let config = config.display().to_string();
    let mut server = Server::start(Options::up(&there.home).with(&["--config", &config]));
    let client = server.client();
    let tables = there.assert_equal();
    assert_eq!(tables.len(), in_files.len());
    let before = listed(&client);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let plant = |service: &str, tables: &[&str]| {
        let planted = async {
            let mut connection = PgConnection::connect(&url).await.expect("the server of tests");
            let mut planted = Vec::new();
            for table in tables {
                let delete = format!(
                    "DELETE FROM {prefix}_{service}.{table} WHERE ctid IN (SELECT ctid FROM \
                     {prefix}_{service}.{table} LIMIT 1)"
                );
                let done = sqlx::query(AssertSqlSafe(delete)).execute(&mut connection).await.expect("a table");
                if done.rows_affected() == 1 {
                    planted.push((*table).to_owned());
                }
            }
            planted
        };
        runtime.block_on(planted)
    };
    there.find_and_mend(&tables, plant);
    assert_eq!(listed(&client), before, "what is read is as it was");
    server.stop();
}
