//! The example of a reader elsewhere: a Python program that knows proto/ and docs/events.md alone prints why trials
//! were stopped, each once, whatever kills it and whatever is sent again.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Client, Home, Options, Server, Watchdog, kafka, new_schema, python_with};

/// For everything: a debug build on a busy machine needs a tenth of it.
const LIMIT: Duration = Duration::from_secs(180);
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends every record of a topic again, as a relay does that began again and had not kept how far it was.
const AGAIN: &str = r#"
import sys
from confluent_kafka import Consumer, OFFSET_BEGINNING, Producer, TopicPartition
servers, topic = sys.argv[1:]
reader = Consumer({"bootstrap.servers": servers, "group.id": "again", "enable.partition.eof": True})
numbers = set(reader.list_topics(topic, timeout=10).topics[topic].partitions)
reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers])
records = []
while numbers:
    record = reader.poll(10)
    if record.error():
        numbers.discard(record.partition())
    else:
        records.append(record)
reader.close()
writer = Producer({"bootstrap.servers": servers})
for record in records:
    writer.produce(topic, record.value(), record.key(), record.partition(), headers=record.headers())
assert writer.flush(10) == 0
print(len(records))
"#;

struct Example<'a> {
    python: &'a Path,
    home: &'a Home,
    servers: &'a str,
    prefix: &'a str,
}

impl Example<'_> {
    fn command(&self, cursor: &str) -> Command {
        let mut command = Command::new(self.python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/follow-events/follow.py"));
        command.args(["--bootstrap", self.servers, "--prefix", self.prefix, "--cursor"]).arg(self.home.join(cursor));
        command
    }

    /// It follows, until it is killed.
    fn start(&self, cursor: &str) -> Following {
        let mut child = self.command(cursor).stdout(Stdio::piped()).spawn().expect("follow.py");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        Following { child, lines }
    }

    /// What it prints of all that is there, and what it complains of when it does not end well.
    fn once(&self, cursor: &str) -> Result<Vec<String>, String> {
        let output = self.command(cursor).arg("--once").output().expect("follow.py");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            return Err(text(&output.stderr));
        }
        Ok(text(&output.stdout).lines().map(str::to_owned).collect())
    }
}

struct Following {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Following {
    /// Its next line; the watchdog ends the test when none comes.
    fn line(&mut self) -> String {
        self.lines.next().expect("it goes on").expect("a line")
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A sweep whose second trial is not good enough and would go on.
fn submit(client: &Client, name: &str) {
    let trial = "echo \"{\\\"trialog\\\": \\\"metric\\\", \\\"name\\\": \\\"score\\\", \\\"value\\\": 0.$1}\"
                 if [ \"$1\" = 5 ]; then exec sleep 600; fi";
    let document = json!({
        "name": name, "cluster": "local",
        "objective": {"goal": "maximize", "primary_metric": "score"},
        "search_space": {"digit": {"type": "choice", "values": [9, 5]}},
        "sampling_algorithm": "grid",
        "early_termination": {"type": "bandit", "slack_amount": 0.1},
        "limits": {"max_total_trials": 2, "max_concurrent_trials": 1},
        "trial": {
            "command": ["/bin/sh", "-c", trial, "trial", "${{search_space.digit}}"],
            "resources": {"cpu_count": 1},
        },
    });
    client.post("sweeps", &document).expect(201);
    let over = |sweep: &Value| sweep["state"] == "Completed" || sweep["state"] == "Failed";
    let swept = client.await_version(&format!("sweeps/{name}"), PATIENCE, over);
    assert_eq!(swept["trial_counts"]["EarlyStopped"], 1, "{swept}");
}

fn make_cluster(client: &Client) {
    let cluster = json!({
        "vm_size": "D2", "vm_priority": "dedicated",
        "scale": {"min_nodes": 0, "max_nodes": 1, "idle_seconds_before_scaledown": 600},
        "provider": {"kind": "local", "boot_seconds": 0}
    });
    client.put("clusters/local", &cluster).expect(201);
}

#[test]
fn a_program_elsewhere_says_why_trials_were_stopped_each_once() {
    let Some(servers) = kafka() else { return };
    let Some(python) = python_with(&["confluent_kafka", "grpc_tools"]) else { return };
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the example that follows facts");
    let prefix = new_schema();
    let config = format!("[feed.kafka]\nbootstrap = {servers:?}\nprefix = {prefix:?}\npartitions = 3\n");
    let config: PathBuf = home.write("trialog.toml", &config);
    let mut server = Server::start(Options::up(&home).with(&["--config", config.to_str().expect("plain")]));
    let client = server.client();
    let example = Example { python: &python, home: &home, servers: &servers, prefix: &prefix };
    make_cluster(&client);

    let mut following = example.start("cursor.json");
    submit(&client, "first");
    let line = following.line();
    let stopped = client.get("sweeps/first/trials/1").expect(200);
    let (run, decision) = (stopped["run_id"].as_str().expect("a run"), stopped["decision"].as_str().expect("its id"));
    let wanted = format!("first/1 stops: bandit saw score 0.5 < 0.8 at interval 1 ({run}, decision {decision})");
    assert_eq!(line, wanted);
    drop(following);
    // What it had printed may not have been kept: then it is there once more. From here on it is.
    let again = example.once("cursor.json").expect("it goes on");
    assert!(again.is_empty() || again == [wanted.clone()], "{again:?}");

    submit(&client, "second");
    let line = example.start("cursor.json").line();
    assert!(line.starts_with("second/1 stops: bandit saw score 0.5 < 0.8"), "goes on behind the first: {line}");
    example.once("cursor.json").expect("it goes on");

    // With the server gone nothing else is sent meanwhile.
    server.stop();
    let topic = format!("{prefix}.sweeps.v1");
    let sent = Command::new(&python).args(["-c", AGAIN, &servers, &topic]).output().expect("python");
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    assert_eq!(example.once("cursor.json"), Ok(Vec::new()), "what is sent again was seen");
    let fresh = example.once("fresh.json").expect("from the beginning");
    assert!(fresh.len() == 2 && fresh.contains(&wanted), "each once: {fresh:?}");

    home.write("other.json", r#"{"source": "sweeps@another"}"#);
    let halted = example.once("other.json").unwrap_err();
    assert!(halted.contains("it is another log"), "{halted}");
}
