//! A server whose logs are on PostgreSQL: what was acknowledged survives its death, and everything that was decided is
//! decided again.

#![cfg(feature = "postgres")]

use std::process::Command;
use std::time::Duration;

use trialog_testkit::{
    Home, Options, Server, Watchdog, ask_and_tell, asked_parameters, binary, external_sweep, postgres,
};

/// For everything: a debug build on a busy machine needs a tenth of it.
const LIMIT: Duration = Duration::from_secs(180);

/// Trials of the sweep, and after how many the server is killed.
const TRIALS: usize = 12;
const KILLED_AFTER: usize = 5;

#[test]
fn a_server_on_postgres_survives_its_death_and_is_verified() {
    let Some(url) = postgres() else { return };
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "a server on PostgreSQL");
    let prefix = format!("p{}", std::process::id());
    let config = home.join("trialog.toml");
    std::fs::write(&config, format!("[store]\nurl = {url:?}\nprefix = {prefix:?}\n")).expect("the configuration");
    let config = config.to_str().expect("plain").to_owned();
    let mut server = Server::start(Options::up(&home).with(&["--config", &config]));
    server.client().post("sweeps", &external_sweep("told", TRIALS)).expect(201);
    let mut seen: Vec<f64> = (0..KILLED_AFTER).map(|_| ask_and_tell(&server.client(), "told")).collect();
    server.kill();
    server.restart();
    let client = server.client();
    seen.extend((KILLED_AFTER..TRIALS).map(|_| ask_and_tell(&client, "told")));
    assert_eq!(asked_parameters(&client, "told"), seen);
    client.assert_verified("sweeps/told");
    assert!(!server.data().join("db/runs.sqlite").exists(), "nothing lies beside the database");
    server.stop();
    let doctor = Command::new(binary()).args(["doctor", "--config", &config, "--data"]).arg(server.data()).output();
    let doctor = doctor.expect("doctor");
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(doctor.status.success() && text.contains("sound"), "{text}{}", String::from_utf8_lossy(&doctor.stderr));
    // The folder knows which database it has: another one in its place is refused.
    std::fs::write(&config, format!("[store]\nurl = {url:?}\nprefix = \"{prefix}other\"\n"))
        .expect("the configuration");
    let up = ["up", "--listen", "127.0.0.1:0", "--config", &config, "--data"];
    let refused = Command::new(binary()).args(up).arg(server.data()).output().expect("up");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("missing or empty"), "{said}");
}
