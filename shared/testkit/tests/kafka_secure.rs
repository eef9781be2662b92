//! Kafka's brokers ask for TLS and a user: facts go through them, and who is refused there says why.

use std::time::Duration;

use serde_json::Value;
use trialog_testkit::{Broker, Home, Options, Server, Watchdog, await_that, http, kafka};

/// For everything: a debug build on a busy machine needs a tenth of it.
const LIMIT: Duration = Duration::from_secs(180);
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that reaches the broker with this password.
fn options(home: &Home, broker: &Broker, name: &str, password: &str) -> Options {
    let read = |name: &str| std::fs::read_to_string(broker.secure(name)).expect("a file").trim().to_owned();
    let config = format!(
        "[feed.kafka]\nbootstrap = {:?}\nprefix = {name:?}\npartitions = 2\ntls = true\ntls_ca = {:?}\nuser = {:?}\n\
         password_file = {password:?}\n",
        read("servers"),
        broker.secure("ca.pem"),
        read("user"),
    );
    let config = home.write(&format!("{name}.toml"), &config);
    let mut options = Options::up(home).with(&["--config", config.to_str().expect("plain")]);
    (options.data, options.log) = (home.join(name), home.join(&format!("{name}.log")));
    options
}

#[test]
fn facts_go_through_brokers_with_tls_and_a_user_and_a_wrong_password_is_named() {
    if kafka().is_none() {
        return;
    }
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "Kafka with TLS");
    let broker = Broker::start_secure(home.path());
    let password = broker.secure("password").display().to_string();
    let mut server = Server::start(options(&home, &broker, "right", &password));
    let client = server.client();
    await_that(PATIENCE, || {
        let listed = client.get("/api/v1/feed/consumers").expect(200);
        let all: Vec<&Value> = listed["consumers"].as_array().expect("a list").iter().collect();
        let is_relay =
            |consumer: &&&Value| consumer["consumer"].as_str().is_some_and(|name| name.ends_with(".kafka_relay"));
        let follows = all.iter().all(|consumer| consumer["state"] == "Following");
        if follows && all.iter().filter(is_relay).count() == 5 { Ok(()) } else { Err(format!("{all:?}")) }
    });
    let shown = client.get("/api/v1/feed/consumers").text();
    server.stop();
    let log = std::fs::read_to_string(home.join("right.log")).expect("a log");
    let secret = std::fs::read_to_string(&password).expect("a password");
    assert!(!log.contains(secret.trim()) && !shown.contains(secret.trim()), "no secret is shown");

    let wrong = home.write("wrong.password", "guessed\n").display().to_string();
    let server = Server::begin_with(options(&home, &broker, "wrong", &wrong));
    let (url, http) = (format!("{}/readyz", server.url()), http().build().expect("an HTTP client"));
    await_that(PATIENCE, || {
        let text = http.get(&url).send().and_then(|answer| answer.text()).map_err(|error| error.to_string())?;
        let log = std::fs::read_to_string(home.join("wrong.log")).expect("a log");
        let is_said = log.contains("feed.kafka.user") && log.contains("invalid credentials");
        if is_said && text.contains("kafka_relay") { Ok(()) } else { Err(format!("{text}: {log}")) }
    });
}
