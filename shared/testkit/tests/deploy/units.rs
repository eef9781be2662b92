//! The units of systemd: by its own checker, and by starting what they start.

use std::path::Path;

use trialog_testkit::{Home, Options, Server, Watchdog, binary, free_port, systemd_verify};

use crate::{LIMIT, deploy, read};

const PROGRAM: &str = "/usr/local/bin/trialog";

/// The words of a unit's command behind the program.
fn words(unit: &str) -> Vec<String> {
    let lines = unit.replace("\\\n", " ");
    let command = lines.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    let words = command.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words[0], PROGRAM);
    words[1..].to_vec()
}

#[test]
fn systemd_takes_the_units_and_jobs_outlive_what_they_stop() {
    let home = Home::new();
    let unit = |name: &str| read(&deploy("systemd").join(name)).replace(PROGRAM, &binary().display().to_string());
    let one = home.write("trialog.service", &unit("trialog.service"));
    home.write("trialog@.service", &unit("trialog@.service"));
    let instance = home.join("trialog@sweeps.service");
    let Some(found) = systemd_verify(&[&one, &instance]) else { return };
    assert_eq!(found, "");
    let faulty = home.write("faulty.service", &unit("trialog.service").replace("KillMode=process", "KillMode=proces"));
    let found = systemd_verify(&[&faulty]).expect("it is there");
    assert!(found.contains("proces"), "{found}");
    for name in ["trialog.service", "trialog@.service"] {
        // The default, control-group, would kill each job with every upgrade; a private /tmp would go from under it.
        let unit = read(&deploy("systemd").join(name));
        assert!(unit.contains("\nKillMode=process\n") && !unit.contains("PrivateTmp=yes"), "{name}");
    }
}

#[test]
fn the_commands_of_the_units_serve() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the units' commands");
    let config = home.write("trialog.toml", "").display().to_string();
    let start = |name: &str, service: &str, flags: &str| {
        let there = |word: String| {
            let word =
                word.replace("/etc/trialog/trialog.toml", &config).replace("%d", &home.path().display().to_string());
            word.replace("%i", service)
        };
        let mut words: Vec<String> = words(&read(&deploy("systemd").join(name))).into_iter().map(there).collect();
        let data = words.iter().position(|word| word == "--data").expect("a data folder");
        assert!(Path::new(&words[data + 1]).starts_with("/var/lib/trialog"), "the StateDirectory: {words:?}");
        words.drain(data..data + 2);
        // systemd makes words of what the file of the environment holds.
        let at = words.iter().position(|word| word == "$TRIALOG_FLAGS").unwrap_or(words.len());
        words.splice(at.., flags.split_whitespace().map(str::to_owned));
        let mut options = Options::serve(&home, name, service);
        options.words = words;
        Server::begin_with(options)
    };
    start("trialog.service", "gateway", &format!("--listen 127.0.0.1:{}", free_port())).stop();
    home.write("peer.token", "a secret of this installation");
    home.write("signing.key", &"5a".repeat(32));
    let flags = read(&deploy("systemd/trialog@.service"));
    let flags = flags.lines().find_map(|line| line.strip_prefix("#   TRIALOG_FLAGS=")).expect("an example");
    let peers = ["sweeps", "models", "compute"].map(|name| format!("--peer {name}=http://{name}.lab:7000")).join(" ");
    let flags = flags.replace("10.0.0.5:7000", "127.0.0.1:0").replace("...", &peers).replace("https:", "http:");
    start("trialog@.service", "gateway", &format!("{flags} --http 127.0.0.1:{}", free_port())).stop();
}
