//! Processes of one installation speak TLS among each other: who shows no certificate of its authority is refused
//! though it knows the secret, agents come in by the secret of their node, and a sweep goes through.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Home, Options, Server, Watchdog, binary, free_port, python_with};

/// For everything: a debug build on a busy machine needs a fraction of it.
const LIMIT: Duration = Duration::from_secs(180);
const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "a secret of this installation";

const TRIAL: &str = "echo \"{\\\"trialog\\\": \\\"metric\\\", \\\"name\\\": \\\"loss\\\", \\\"value\\\": $1}\"";

/// Calls the health service of a process as another program would; prints the status.
const CALL: &str = r#"
import sys, grpc
address, ca, certificate, token = sys.argv[1:]
read = lambda path: open(path, "rb").read()
if ca:
    pair = (read(certificate + ".key"), read(certificate + ".pem")) if certificate else (None, None)
    channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(read(ca), *pair))
else:
    channel = grpc.insecure_channel(address)
call = channel.unary_unary("/trialog.health.v1.HealthService/Check", lambda sent: sent, lambda received: received)
try:
    call(b"\x0a\x04runs", metadata=[("trialog-peer-token", token)], timeout=60)
    print("OK")
except grpc.RpcError as error:
    print(error.code().name, error.details())
"#;

/// Certificates for the processes of this machine, by the script that an operator would take.
fn make_certificates(folder: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/tls/make-certificates");
    let output = Command::new(script).arg(folder).arg("peer").output().expect("make-certificates");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The configuration of a process with such certificates.
fn config(home: &Home) -> String {
    make_certificates(&home.join("tls"));
    let file = |name: &str| home.join("tls").join(name).display().to_string();
    let (ca, certificate, key) = (file("ca.pem"), file("peer.pem"), file("peer.key"));
    let text = format!("[peers]\ntls_ca = {ca:?}\ntls_certificate = {certificate:?}\ntls_key = {key:?}\n");
    home.write("trialog.toml", &text).display().to_string()
}

/// A process of an installation with these flags.
fn options(home: &Home, name: &str, services: &str, flags: &[&str]) -> Options {
    let key = home.write("signing.key", &"5a".repeat(32)).display().to_string();
    let token = home.write("token", TOKEN).display().to_string();
    let options = Options::serve(home, name, services);
    options.with(&["--signing-key-file", &key, "--token-file", &token]).with(flags)
}

#[test]
fn a_sweep_goes_through_and_who_has_no_certificate_is_refused() {
    let Some(python) = python_with(&["grpc"]) else { return };
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "processes with TLS");
    let config = config(&home);
    let [front, back, http] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
    let others: Vec<String> = ["workspaces", "runs", "sweeps", "models"]
        .iter()
        .flat_map(|service| ["--peer".to_owned(), format!("{service}=https://{front}")])
        .chain(["--peer".to_owned(), format!("gateway=http://{http}")])
        .collect();
    let mut flags = vec!["--config", &config, "--listen", &back];
    flags.extend(others.iter().map(String::as_str));
    let mut compute = Server::start(options(&home, "compute", "compute", &flags));
    let peer = format!("compute=https://{back}");
    let flags = ["--config", &config, "--listen", &front, "--http", &http, "--peer", &peer];
    let mut server = Server::start(options(&home, "front", "workspaces,gateway,runs,sweeps,models", &flags));

    let client = server.client();
    let cluster = json!({
        "vm_size": "D2", "vm_priority": "dedicated",
        "scale": {"min_nodes": 0, "max_nodes": 1, "idle_seconds_before_scaledown": 300},
        "provider": {"kind": "local", "boot_seconds": 0}
    });
    client.put("clusters/nodes", &cluster).expect(201);
    let sweep = json!({
        "name": "secured", "cluster": "nodes",
        "objective": {"goal": "minimize", "primary_metric": "loss"},
        "search_space": {"whole": {"type": "choice", "values": [3, 1]}},
        "sampling_algorithm": "grid",
        "limits": {"max_total_trials": 2, "max_concurrent_trials": 2},
        "trial": {
            "command": ["/bin/sh", "-c", TRIAL, "trial", "${{search_space.whole}}"],
            "resources": {"cpu_count": 1},
        },
    });
    client.post("sweeps", &sweep).expect(201);
    // The values come from the agent, which reaches runs over TCP with the secret of its node and no certificate.
    let over = |sweep: &Value| sweep["state"] == "Completed" || sweep["state"] == "Failed";
    let swept = client.await_version("sweeps/secured", PATIENCE, over);
    assert_eq!((&swept["state"], &swept["best"]["value"]), (&json!("Completed"), &json!(1.0)), "{swept}");

    make_certificates(&home.join("elsewhere"));
    let path = |name: &str| home.join(name).display().to_string();
    let call = |ca: &str, certificate: &str, token: &str| {
        let output = Command::new(&python).args(["-c", CALL, &front, ca, certificate, token]).output().expect("python");
        String::from_utf8_lossy(&output.stdout).trim().to_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let (ca, own) = (path("tls/ca.pem"), path("tls/peer"));
    assert_eq!(call(&ca, &own, TOKEN), "OK");
    for (certificate, token, refused) in [
        (String::new(), TOKEN, "UNAUTHENTICATED no certificate was shown"),
        (own, "another secret", "UNAUTHENTICATED the peer token is missing or wrong"),
        (path("elsewhere/peer"), TOKEN, "UNAVAILABLE"),
    ] {
        let answer = call(&ca, &certificate, token);
        assert!(answer.starts_with(refused), "{certificate}: {answer}");
    }
    let without = call("", "", TOKEN);
    assert!(without.starts_with("UNAVAILABLE"), "without TLS: {without}");
    client.delete("clusters/nodes");
    server.stop();
    compute.stop();
}

#[test]
fn addresses_and_certificates_that_do_not_go_together_end_the_start() {
    let home = Home::new();
    let config = config(&home);
    let peers = ["workspaces", "runs", "sweeps", "compute"].map(|name| format!("{name}=https://{name}.lab:7000"));
    let start = |config: &[&str], odd: &str| {
        let mut command = Command::new(binary());
        command.args(["serve", "--services", "models", "--data"]).arg(home.join("models")).args(config);
        command.args(peers.iter().filter(|peer| peer[..4] != odd[..4]).flat_map(|peer| ["--peer", peer]));
        let output = command.args(["--peer", odd]).output().expect("it ends");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let refused = start(&["--config", &config], "sweeps=https://a.lab:7000,http://b.lab:7000");
    assert!(refused.contains("--peer sweeps") && refused.contains("say https://HOST:PORT"), "{refused}");
    let refused = start(&[], "sweeps=https://sweeps.lab:7000");
    assert!(refused.contains("set peers.tls_ca, peers.tls_certificate and peers.tls_key"), "{refused}");
}

#[test]
fn a_door_for_other_machines_without_tls_is_warned_of() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the warning of the peers' door");
    let config = config(&home);
    let peers = ["workspaces", "runs", "sweeps", "compute", "gateway"];
    for (name, listen, scheme, config, is_warned) in [
        ("plain", "0.0.0.0:0", "http", &[][..], true),
        ("local", "127.0.0.1:0", "http", &[], false),
        ("secured", "0.0.0.0:0", "https", &["--config", &config], false),
    ] {
        let peers: Vec<String> = peers.iter().map(|peer| format!("{peer}={scheme}://{peer}.lab:7000")).collect();
        let mut flags = vec!["--listen", listen];
        flags.extend(peers.iter().flat_map(|peer| ["--peer", peer]));
        flags.extend(config);
        let options = options(&home, name, "models", &flags);
        let log = options.log.clone();
        // Its log is whole when it has ended.
        Server::begin_with(options).stop();
        let text = std::fs::read_to_string(&log).expect("the log");
        let warned = text.contains("gRPC listens beyond this machine without TLS") && text.contains("peers.tls_ca");
        assert_eq!(warned, is_warned, "{name}: {text}");
    }
}
