//! A server for more than its own machine: https with a certificate of one's own, and what its log says.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Home, Options, Server, Watchdog, await_that, binary, python_with};

const LIMIT: Duration = Duration::from_secs(180);
const PATIENCE: Duration = Duration::from_secs(60);

/// A job that reports by REST, as a script without our client does.
const REPORT: &str = r#"
import json, os, ssl, urllib.request
url = "{TRIALOG_API_URL}/api/v1/workspaces/{TRIALOG_WORKSPACE}/runs/{TRIALOG_RUN_ID}/metrics".format(**os.environ)
body = {"attempt": int(os.environ["TRIALOG_ATTEMPT"]), "metrics": [{"name": "by_rest", "value": 7}]}
headers = {"Authorization": "Bearer " + os.environ["TRIALOG_TOKEN"], "Content-Type": "application/json"}
request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
urllib.request.urlopen(request, context=ssl.create_default_context(cafile=os.environ["TRIALOG_CA_FILE"])).read()
"#;

fn pem(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/tls").join(name);
    path.display().to_string()
}

struct Cli<'a> {
    home: &'a Home,
    server: &'a Server,
}

impl Cli<'_> {
    fn run(&self, words: &[&str], ca_file: Option<&str>) -> Output {
        let mut command = Command::new(binary());
        command.current_dir(self.home.path()).env_remove("TRIALOG_CA_FILE").env("TRIALOG_TOKEN", self.server.token());
        command.env("TRIALOG_API_URL", self.server.url());
        if let Some(ca_file) = ca_file {
            command.env("TRIALOG_CA_FILE", ca_file);
        }
        command.args(words).output().expect("the command line runs")
    }

    fn json(&self, words: &[&str]) -> Value {
        let output = self.run(words, Some(&pem("ca.pem")));
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }
}

/// The server's log, a JSON object a line.
fn lines(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).expect("the log");
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn the_command_line_and_jobs_speak_https_and_the_log_says_what_happens() {
    let Some(python) = python_with(&["ssl"]) else { return };
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "https");
    let (certificate, key, ca) = (pem("server.pem"), pem("server.key"), pem("ca.pem"));
    let options = Options::up(&home).with(&["--tls-certificate", &certificate, "--tls-key", &key, "--tls-ca", &ca]);
    let options = options.with(&["--log-format", "json"]);
    let log = options.log.clone();
    let mut server = Server::begin_with(options);
    assert!(server.url().starts_with("https://127.0.0.1:"), "{}", server.url());
    {
        let cli = Cli { home: &home, server: &server };
        await_that(PATIENCE, || match cli.run(&["workspace", "list"], Some(&ca)) {
            output if output.status.success() => Ok(()),
            output => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        });
        // Whom this machine knows has not signed it; the server's own key is no authority.
        for wrong in [None, Some(key.as_str()), Some("absent.pem")] {
            let output = cli.run(&["workspace", "list"], wrong);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && said.contains("--ca-file"), "{wrong:?}: {said}");
        }
        // The folder names its own authority: whoever works on this machine has to name nothing.
        home.write(".trialog.toml", "data = \"d\"\n");
        let local = Command::new(binary()).args(["workspace", "list", "-o", "name"]).current_dir(home.path()).output();
        assert_eq!(String::from_utf8_lossy(&local.expect("it runs").stdout).trim(), "default");
        let cluster = "vm_size: D2\nvm_priority: dedicated\nscale: {min_nodes: 0, max_nodes: 1}\n\
                       provider: {kind: local, boot_seconds: 0}\n";
        let cluster = home.write("cluster.yaml", cluster).display().to_string();
        cli.json(&["cluster", "put", "own", &cluster, "-o", "json"]);
        let job = json!({"name": "reporter", "job": {
            "cluster": "own", "command": [python, "-c", REPORT], "resources": {"cpu_count": 1},
        }});
        let job = home.write("run.json", &job.to_string()).display().to_string();
        let run = cli.json(&["run", "create", &job, "-o", "json"])["run_id"].as_str().expect("an id").to_owned();
        let shown = await_that(PATIENCE, || match cli.json(&["run", "show", &run, "-o", "json"]) {
            shown if ["Completed", "Failed"].contains(&shown["state"].as_str().unwrap_or_default()) => Ok(shown),
            shown => Err(shown.to_string()),
        });
        assert_eq!(shown["state"], "Completed", "{shown}");
        cli.run(&["sweep", "show", "of-nobody"], Some(&ca));
    }
    server.stop();
    let lines = lines(&log);
    let the = |message: &str| {
        let found = lines.iter().find(|line| line["message"] == message);
        found.unwrap_or_else(|| panic!("{message}: not in {lines:#?}")).clone()
    };
    assert!(the("the server has started")["url"].as_str().is_some_and(|url| url.starts_with("https:")));
    for change in ["ClusterCreated", "NodeReady"] {
        assert!(the(change)["stream"].as_str().is_some_and(|stream| stream.contains("own")), "{}", the(change));
    }
    assert_eq!(
        (&the("ClusterCreated")["by"], &the("ClusterCreated")["level"]),
        (&json!("first admin"), &json!("INFO"))
    );
    let refused = lines.iter().find(|line| line["message"] == "refused" && line["status"] == 404);
    let refused = refused.unwrap_or_else(|| panic!("no refusal in {lines:#?}"));
    assert!(
        refused["request_id"].as_str().is_some_and(|id| !id.is_empty()) && refused["code"] == "NotFound",
        "{refused}"
    );
    assert!(the("the server ends")["reason"] == "asked to" && the("the server has ended")["level"] == "INFO");
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(!told.contains("without TLS"), "{told}");
}

#[test]
fn listening_for_others_without_tls_is_warned_of() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the warning");
    for (listen, is_warned) in [("0.0.0.0:0", true), ("127.0.0.1:0", false)] {
        let mut options = Options::up(&home);
        options.words = vec!["up".to_owned(), "--listen".to_owned(), listen.to_owned()];
        options.log = home.join(&format!("{is_warned}.log"));
        let log = options.log.clone();
        let mut server = Server::start(options);
        server.stop();
        let said = std::fs::read_to_string(&log).unwrap();
        assert_eq!(said.contains("without TLS") && said.contains("--tls-certificate"), is_warned, "{listen}: {said}");
    }
}
