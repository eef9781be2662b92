//! The tables of a stopped installation are made this build's before it serves, and those of a newer build are refused
//! by every command, before anything is changed.

use std::process::{Command, Stdio};
use std::time::Duration;

use trialog_testkit::{Fixture, Home, Options, Server, Watchdog, binary};

const LIMIT: Duration = Duration::from_secs(180);

/// Whether a command on the folder went through, and what it says.
fn ends(home: &Home, words: &[&str]) -> (bool, String) {
    let mut command = Command::new(binary());
    let done = command.args(words).arg("--data").arg(home.join("d")).stdin(Stdio::null()).output();
    let done = done.unwrap_or_else(|error| panic!("{}: {error}", binary().display()));
    let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (done.status.success(), text)
}

/// Runs SQL on a database of a stopped server; what it answers.
fn asked(home: &Home, service: &str, sql: &str) -> String {
    let script = "import sqlite3, sys\n\
                  with sqlite3.connect(sys.argv[1]) as log: print(log.execute(sys.argv[2]).fetchall())\n";
    let file = home.join(&format!("d/db/{service}.sqlite"));
    let done = Command::new("python3").args(["-c", script]).arg(file).arg(sql).output().expect("python3");
    assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

#[test]
fn an_older_folder_gets_its_tables_and_a_newer_one_is_refused_and_left_alone() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "migrations");
    Fixture::of("629f652").unpack(&home);
    let migrations = "SELECT name FROM log_migrations ORDER BY name";
    let older = asked(&home, "workspaces", migrations);
    asked(&home, "sweeps", "INSERT INTO log_migrations(name, hash) VALUES ('zz_newer', x'00')");
    for words in [&["migrate"][..], &["up", "--listen", "127.0.0.1:0"], &["doctor"]] {
        let (is_done, said) = ends(&home, words);
        assert!(!is_done && said.contains("newer build") && said.contains("zz_newer"), "{words:?}: {said}");
        assert_eq!(asked(&home, "workspaces", migrations), older, "{words:?}: not half an installation");
    }
    asked(&home, "sweeps", "DELETE FROM log_migrations WHERE name = 'zz_newer'");
    let (is_done, said) = ends(&home, &["migrate"]);
    let applied = said.lines().find(|line| line.starts_with("runs: applied")).unwrap_or_default();
    assert!(is_done && applied.contains("012_owners_by_object") && applied.contains("fed with its history"), "{said}");
    let (is_done, said) = ends(&home, &["migrate"]);
    assert!(is_done && said.matches("has all tables of this build").count() == 5, "{said}");
    let (is_done, said) = ends(&home, &["doctor"]);
    assert!(is_done && said.contains("sound"), "{said}");
    let mut server = Server::start(Options::up(&home));
    let (is_done, said) = ends(&home, &["migrate"]);
    assert!(!is_done && said.contains("stop it"), "{said}");
    server.stop();
}
