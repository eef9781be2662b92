//! `scaled_trials`, `scaled_cpu`, `fail_over_*`: every service a process of its own, on PostgreSQL and Kafka, on this
//! machine. The floor of the trials a second and of the processor time a trial is the embedded form in the same run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use runtime::Stopwatch;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testkit::{Client, Options, Server, binary};

use crate::figure::Figure;
use crate::job_start::warm_node;
use crate::trials;

/// Clock ticks a second of `/proc/PID/stat`, which Linux has fixed for programs.
const TICKS_A_SECOND: f64 = 100.0;
/// Writes before a fault, and as many after it.
const WRITES: usize = 40;
/// The services that have two processes.
const REPLICAS: &str = "sweeps=2,models=2";

/// The scaled form under way.
struct Scaled {
    folder: PathBuf,
    supervisor: Child,
}

/// Lets PostgreSQL through to its folder: where this is root it runs as another user.
fn let_through(folder: &Path) -> anyhow::Result<()> {
    let is_ours = |above: &&Path| *above != std::env::temp_dir() && above.starts_with(std::env::temp_dir());
    for above in folder.ancestors().skip(1).take_while(is_ours).filter(|above| above.exists()) {
        let mode = std::fs::metadata(above)?.permissions().mode();
        std::fs::set_permissions(above, Permissions::from_mode(mode | 0o011))?;
    }
    Ok(())
}

impl Scaled {
    fn start(folder: PathBuf) -> anyhow::Result<Self> {
        let_through(&folder)?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/scaled/scaled");
        // Objects are in a folder: the S3 of tests would be what is measured.
        let mut supervisor = Command::new("python3")
            .arg(script)
            .arg(&folder)
            .args(["--listen", "127.0.0.1:0", "--s3", "none", "--replicas", REPLICAS, "--trialog"])
            .arg(binary())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(supervisor.stdout.take().context("its output")?).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.starts_with("trialog at "));
        // It goes on to say which process it has started again.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("scaled: {line}")));
        anyhow::ensure!(ready, "the scaled form does not start: see {}", folder.display());
        Ok(Self { folder, supervisor })
    }

    fn client(&self) -> anyhow::Result<Client> {
        let token = std::fs::read_to_string(self.folder.join("workspaces/admin.token"))?;
        Ok(Client::of_data(&self.folder.join("gateway"), token.trim()))
    }

    /// The processes by their names.
    fn processes(&self) -> anyhow::Result<BTreeMap<String, i32>> {
        let facts: Value = serde_json::from_slice(&std::fs::read(self.folder.join("processes.json"))?)?;
        let pids = facts.as_object().into_iter().flatten();
        Ok(pids.filter_map(|(name, fact)| Some((name.clone(), i32::try_from(fact["pid"].as_i64()?).ok()?))).collect())
    }
}

impl Drop for Scaled {
    fn drop(&mut self) {
        let pid = i32::try_from(self.supervisor.id()).ok().and_then(Pid::from_raw);
        // It ends everything in order, and itself last.
        if pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok()) {
            let _ = self.supervisor.wait();
        }
    }
}

/// Processor seconds of what runs for a folder and of what those have started, by what they are.
fn cpu_seconds(folder: &Path) -> BTreeMap<String, f64> {
    let named: BTreeMap<i32, String> =
        testkit::processes_of(folder).into_iter().map(|process| (process.pid, part(&process.words))).collect();
    let mut seconds = BTreeMap::new();
    for pid in runtime::process::all() {
        let mut above = Some(pid);
        while above.is_some_and(|pid| pid > 1 && !named.contains_key(&pid)) {
            above = above.and_then(runtime::process::parent_of);
        }
        if let Some(name) = above.and_then(|pid| named.get(&pid)) {
            *seconds.entry(name.clone()).or_default() += ticks(pid) / TICKS_A_SECOND;
        }
    }
    seconds
}

/// What a process is: its service, `agent`, `postgres`, `kafka`.
fn part(words: &[String]) -> String {
    let after = |flag: &str| words.iter().position(|word| word == flag).and_then(|at| words.get(at + 1)).cloned();
    let program = words.first().and_then(|word| word.rsplit('/').next()).unwrap_or_default();
    match (program, words.get(1).map(String::as_str)) {
        ("trialog", Some("serve")) => after("--services").unwrap_or_default(),
        ("trialog", Some("agent" | "shim" | "shim-server")) => "agent".to_owned(),
        ("java", _) => "kafka".to_owned(),
        (program, _) => program.to_owned(),
    }
}

/// Its ticks and those of its children that have ended.
fn ticks(pid: i32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = text.rsplit(") ").next().unwrap_or_default();
    after.split(' ').skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum()
}

/// Trials a second, and processor seconds a trial, of a form that runs in a folder.
fn sweep(client: &Client, folder: &Path) -> anyhow::Result<(f64, BTreeMap<String, f64>)> {
    warm_node(client, "D8");
    // The first sweep finds cold caches and makes connections.
    trials::run(client, "warm-up")?;
    let before = cpu_seconds(folder);
    let rate = trials::run(client, "load")?;
    let spent = cpu_seconds(folder).into_iter().map(|(name, seconds)| {
        let spent = (seconds - before.get(&name).copied().unwrap_or_default()) / f64::from(trials::TRIALS);
        (name, spent)
    });
    Ok((rate, spent.collect()))
}

/// Measures the same sweep in both forms.
pub fn measure(options: Options) -> anyhow::Result<Vec<Figure>> {
    let folder = options.data.clone();
    let server = Server::start(Options { data: folder.join("embedded"), ..options });
    let (rate, spent) = sweep(&server.client(), &folder.join("embedded"))?;
    drop(server);
    let scaled = Scaled::start(folder.join("scaled"))?;
    let (scaled_rate, scaled_spent) = sweep(&scaled.client()?, &scaled.folder)?;
    println!("{}", json!({"what": "scaled_cpu_by_process", "embedded": spent, "scaled": scaled_spent}));
    let sum = |spent: &BTreeMap<String, f64>| spent.values().sum();
    Ok(vec![
        Figure { what: "scaled_trials", value: scaled_rate, unit: "trials/s", floor: Some(rate) },
        Figure { what: "scaled_cpu", value: sum(&scaled_spent), unit: "s a trial", floor: Some(sum(&spent)) },
    ])
}

/// Submits sweeps until so many are acknowledged; the longest that one took, in seconds.
fn write(client: &Client, names: &[String]) -> f64 {
    let mut longest = 0.0_f64;
    for name in names {
        let watch = Stopwatch::start();
        let document = json!({
            "name": name, "mode": "external",
            "objective": {"goal": "maximize", "primary_metric": "score"},
            "search_space": {"x": {"type": "uniform", "min_value": 0, "max_value": 1}},
            "sampling_algorithm": {"type": "random", "seed": 1},
            "limits": {"max_total_trials": 1, "max_concurrent_trials": 1},
        });
        client.post("sweeps", &document).expect(201);
        longest = longest.max(watch.elapsed().as_secs_f64());
    }
    longest
}

/// Measures how long a command waits when the writer of sweeps is killed, and when it stands still; nothing that was
/// acknowledged may be lost or be there twice.
pub fn fail_over(options: Options) -> anyhow::Result<Vec<Figure>> {
    let scaled = Scaled::start(options.data.join("scaled"))?;
    let client = scaled.client()?;
    let mut written: Vec<String> = Vec::new();
    let mut figures = Vec::new();
    for (what, signal) in [("fail_over_killed", Signal::KILL), ("fail_over_frozen", Signal::STOP)] {
        let names: Vec<String> = (0..2 * WRITES).map(|number| format!("{what}-{number}")).collect();
        write(&client, &names[..WRITES]);
        let writer = writer(&scaled)?;
        kill_process(Pid::from_raw(writer).context("a process")?, signal)?;
        let value = write(&client, &names[WRITES..]);
        if signal == Signal::STOP {
            kill_process(Pid::from_raw(writer).context("a process")?, Signal::CONT)?;
        }
        written.extend(names);
        figures.push(Figure { what, value, unit: "s", floor: None });
    }
    let found = client.list("sweeps", "sweeps");
    let names: BTreeSet<&str> = found.iter().filter_map(|sweep| sweep["name"].as_str()).collect();
    let lost = written.iter().filter(|name| !names.contains(name.as_str())).count();
    anyhow::ensure!(lost == 0, "{lost} acknowledged writes are lost");
    anyhow::ensure!(names.len() == found.len() && found.len() == written.len(), "something is there twice");
    Ok(figures)
}

/// The process that writes sweeps: of the two the one that has announced itself as ready.
fn writer(scaled: &Scaled) -> anyhow::Result<i32> {
    let announced = |name: &str| {
        let facts = std::fs::read(scaled.folder.join(name).join("run/server.json")).ok()?;
        serde_json::from_slice::<Value>(&facts).ok()?["pid"].as_i64()
    };
    let processes = scaled.processes()?.into_iter().filter(|(name, _)| name.starts_with("sweeps-"));
    let found = processes.filter(|(name, pid)| announced(name) == Some(i64::from(*pid))).map(|(_, pid)| pid).next();
    found.context("a process that writes sweeps")
}
