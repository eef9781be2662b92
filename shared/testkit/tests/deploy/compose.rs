//! The compose files: by the schema of their specification, and by starting what they start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use trialog_testkit::{
    Home, Options, Server, Watchdog, binary, free_port, kafka, new_schema, postgres, python_with, s3,
};

use crate::{LIMIT, deploy, health, read, verdict};

const FILES: [&str; 2] = ["compose/all-in-one.yaml", "compose/scaled.yaml"];

/// A compose file as JSON, its anchors followed.
fn document(python: &Path, name: &str) -> Value {
    let print = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let output = Command::new(python).args(["-c", print]).arg(deploy(name)).output().expect("python");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{name}: {error}: {:?}", verdict(&output)))
}

/// The services that are our image, with their words.
fn ours(document: &Value) -> BTreeMap<String, (Vec<String>, Value)> {
    let services = document["services"].as_object().expect("services").iter();
    let ours = services.filter(|(_, service)| service["image"] == "trialog");
    let words = |service: &Value| -> Vec<String> {
        serde_json::from_value(service["command"].clone()).unwrap_or_else(|error| panic!("{service}: {error}"))
    };
    ours.map(|(name, service)| (name.clone(), (words(service), service.clone()))).collect()
}

/// What the specification's schema says of a file.
fn checked(python: &Path, file: &Path) -> (bool, String) {
    let words = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"];
    verdict(&Command::new(python).args(words).arg(file).output().expect("python"))
}

#[test]
fn the_files_are_by_the_specification_and_the_containers_may_do_little() {
    let Some(python) = python_with(&["check_jsonschema", "yaml"]) else { return };
    let home = Home::new();
    for name in FILES {
        let (is_well, text) = checked(&python, &deploy(name));
        assert!(is_well, "{name}: {text}");
        let faulty = home.write("faulty.yaml", &read(&deploy(name)).replace("read_only: true", "readonly: true"));
        let (is_well, text) = checked(&python, &faulty);
        assert!(!is_well && text.contains("readonly"), "{name}: {text}");
        for (service, (_, facts)) in ours(&document(&python, name)) {
            assert_eq!((&facts["read_only"], &facts["cap_drop"]), (&json!(true), &json!(["ALL"])), "{name}: {service}");
            assert_eq!(facts["build"]["dockerfile"], "deploy/docker/Dockerfile", "{name}: {service}");
            let shown = facts["volumes"].to_string();
            assert!(shown.contains(":/data\""), "{name}: {service} keeps its data: {shown}");
        }
    }
    let kafka = document(&python, FILES[1])["services"]["kafka"]["image"].clone();
    let version = read(&deploy("kafka-dev/pom.xml"));
    let version = version.split(['<', '>']).skip_while(|word| *word != "kafka.version").nth(1).expect("a version");
    assert_eq!(kafka, format!("apache/kafka:{version}"), "the Kafka that the tests run");
}

/// The machine that the containers of a file share here.
struct Machine {
    home: Home,
    /// What stands in the files, and what is meant by it here.
    moved: Vec<(String, String)>,
}

impl Machine {
    fn here(&self, name: &str, text: &str) -> String {
        let own =
            |text: &str| text.replace("0.0.0.0:7000", &format!("{name}:7000")).replace("/data", &format!("/{name}"));
        self.moved.iter().fold(own(text), |text, (there, here)| text.replace(there, here))
    }

    /// What starts a service of the file.
    fn options(&self, name: &str, (words, facts): &(Vec<String>, Value)) -> Options {
        let environment = facts["environment"].as_object().into_iter().flatten();
        let environment = environment.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
        let keys = facts["env_file"].as_str().map(|file| read(&self.home.join(file.trim_start_matches("./"))));
        let keys: Vec<String> = keys.iter().flat_map(|keys| keys.lines()).map(str::to_owned).collect();
        let words = [binary().display().to_string()].into_iter().chain(words.iter().cloned());
        let mut options = Options::serve(&self.home, name, name);
        options.binary = PathBuf::from("/usr/bin/env");
        options.words = environment.chain(keys).chain(words).map(|word| self.here(name, &word)).collect();
        options
    }

    /// The addresses that the image's check asks here.
    fn checked(&self, name: &str, facts: &Value) -> Vec<String> {
        let words: Vec<String> = serde_json::from_value(facts["healthcheck"]["test"].clone()).unwrap_or_default();
        let script = words.iter().position(|word| word == "/usr/local/lib/trialog/healthcheck.py");
        let script = script.unwrap_or_else(|| panic!("{name}: not the image's check: {words:?}"));
        words[script + 1..].iter().map(|url| self.here(name, url)).collect()
    }
}

#[test]
fn everything_in_one_starts_and_is_well() {
    let Some(python) = python_with(&["yaml"]) else { return };
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the compose file of one process");
    let http = free_port();
    let moved = ["0.0.0.0:8080", "localhost:8080", "127.0.0.1:8080"];
    let moved = moved.map(|there| (there.to_owned(), format!("127.0.0.1:{http}"))).to_vec();
    let machine = Machine { home, moved };
    let services = ours(&document(&python, FILES[0]));
    let mut options = machine.options("trialog", &services["trialog"]);
    options.has_door = true;
    let mut server = Server::start(options);
    assert_eq!(server.url(), format!("http://127.0.0.1:{http}"), "where clients and jobs find it");
    // The check of the image itself, which this file leaves as it is.
    let image = read(&deploy("docker/Dockerfile"));
    assert!(image.contains("healthcheck.py\", \"http://127.0.0.1:8080/readyz\"]"), "{image}");
    let url = format!("http://127.0.0.1:{http}/readyz");
    assert_eq!(health(&python, server.data(), &[&url]), (true, String::new()));
    let (is_well, found) = health(&python, server.data(), &[&url.replace("readyz", "nowhere")]);
    assert!(!is_well && found.contains("404"), "{found}");
    server.stop();
    let (is_well, found) = health(&python, server.data(), &[]);
    assert!(!is_well && found.contains("not well"), "{found}");
}

/// The secrets as the script beside the file makes them, which is run once.
fn make_secrets(machine: &Machine) {
    let make = || Command::new(deploy("compose/make-secrets")).arg(machine.home.join("secrets")).output().expect("sh");
    let (is_well, text) = verdict(&make());
    assert!(is_well, "{text}");
    let (is_well, text) = verdict(&make());
    assert!(!is_well && text.contains("has secrets already"), "made once: {text}");
    let secret = |name: &str| read(&machine.home.join(&format!("secrets/{name}")));
    assert_eq!(secret("pgpass"), format!("postgres:5432:trialog:trialog:{}\n", secret("postgres.password")));
}

#[test]
fn every_service_of_the_scaled_file_starts_and_they_find_each_other() {
    let Some(python) = python_with(&["yaml"]) else { return };
    let (Some(database), Some(brokers), Some(endpoint)) = (postgres(), kafka(), s3()) else { return };
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the scaled compose file");
    let file = document(&python, FILES[1]);
    let services = ours(&file);
    let http = format!("127.0.0.1:{}", free_port());
    let mut moved: Vec<(String, String)> =
        services.keys().map(|name| (format!("{name}:7000"), format!("127.0.0.1:{}", free_port()))).collect();
    moved.extend(
        ["0.0.0.0:8080", "localhost:8080", "127.0.0.1:8080", "gateway:8080"]
            .map(|there| (there.to_owned(), http.clone())),
    );
    moved.push(("/run/secrets".to_owned(), home.join("secrets").display().to_string()));
    moved.push(("/etc/trialog".to_owned(), home.path().display().to_string()));
    let machine = Machine { home, moved };
    make_secrets(&machine);
    let config = read(&deploy("compose").join(file["configs"]["trialog"]["file"].as_str().expect("a file")));
    // The servers are the tests', which others use too.
    let [there, topics] = [new_schema(), new_schema()];
    let config = config.replace("postgres://trialog@postgres/trialog", &database).replace("kafka:9092", &brokers);
    let config =
        config.replace("http://s3:9000", &endpoint).replace("s3://trialog/objects", &format!("s3://trialog/{there}"));
    let config = config.replace("[store]\n", &format!("[store]\nprefix = {there:?}\n"));
    let config = config.replace("[feed.kafka]\n", &format!("[feed.kafka]\nprefix = {topics:?}\n"));
    machine.home.write("trialog.toml", &machine.here("", &config));

    let mut servers: BTreeMap<&String, Server> =
        services.iter().map(|(name, service)| (name, Server::launch(machine.options(name, service)))).collect();
    let gateway = "gateway".to_owned();
    servers.get_mut(&gateway).expect("a gateway").await_ready();
    let token = servers[&"workspaces".to_owned()].token();
    let client = servers[&gateway].client_with(&token);
    client.post("runs", &json!({"experiment": "composed"})).expect(201);
    for (name, (_, facts)) in &services {
        let urls = machine.checked(name, facts);
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        assert_eq!(health(&python, servers[name].data(), &urls), (true, String::new()), "{name}");
        for secret in facts["secrets"].as_array().expect("secrets") {
            let path = machine.home.join(&format!("secrets/{}", secret.as_str().expect("a name")));
            assert!(path.exists(), "make-secrets makes {}", path.display());
        }
    }
    let logs = ["sweeps-a", "sweeps-b"].map(|name| read(&machine.home.join(&format!("{name}.log"))));
    assert!(logs.iter().any(|log| log.contains("standing by")), "of the two one stands by: {logs:?}");
    servers.into_values().rev().for_each(|mut server| server.stop());
}
