//! What a newcomer does: what `trialog init` writes runs at once, and so does the first hour, by the commands of the
//! READMEs as they stand there.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by a panic too")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use trialog_testkit::{Home, Options, Server, Watchdog, binary, python_with};

/// For everything: twelve short trials on two nodes, four times at most, or the installation of what a script imports.
const LIMIT: Duration = Duration::from_secs(300);

struct Newcomer {
    home: Home,
    server: Server,
    python: PathBuf,
}

impl Newcomer {
    /// The server's data folder is where `trialog up` has it, above the folders of the work.
    fn new(python: PathBuf) -> Self {
        let home = Home::new();
        let server = Server::start(Options { data: home.join("trialog-data"), ..Options::up(&home) });
        Self { home, server, python }
    }

    /// Writes the files and runs the commands of the README, behind what it says in words; what they print.
    fn follows(&self, words: &[&str], before: &str) -> String {
        let folder = self.home.join(&words.join("-"));
        self.shell(self.home.path(), &format!("trialog init {} {}", words.join(" "), folder.display()));
        self.shell(&folder, &format!("{before}\n{}", commands(&folder.join("README.md")).join("\n")))
    }

    fn shell(&self, folder: &Path, commands: &str) -> String {
        let (program, python) = (binary(), self.python.parent().unwrap());
        let before = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{}:{before}", program.parent().unwrap().display(), python.display());
        let mut shell = Command::new("sh");
        // Whoever has just begun has set nothing.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TRIALOG_")) {
            shell.env_remove(name);
        }
        let output = shell.args(["-exc", commands]).current_dir(folder).env("PATH", path).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{commands}\n{out}\n{err}");
        out.into_owned()
    }
}

/// The lines that a README has a reader type, without the remarks behind them.
fn commands(readme: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(readme).unwrap();
    let blocks = text.split("```sh\n").skip(1).flat_map(|rest| rest.split("```").next()).collect::<Vec<_>>();
    let lines = blocks.into_iter().flat_map(str::lines);
    lines.map(|line| line.split("  #").next().unwrap_or_default().trim().to_owned()).collect()
}

#[test]
fn what_init_writes_runs_as_its_readme_says() {
    let Some(python) = python_with(&["json"]) else { return };
    let newcomer = Newcomer::new(on_path(python));
    let _watchdog = Watchdog::new(LIMIT, newcomer.home.path(), "the presets");
    let client = newcomer.server.client();
    let answered = newcomer.follows(&["endpoint"], "");
    assert!(answered.contains("\"doubled\"") && answered.contains('6'), "{answered}");
    newcomer.follows(&["run"], "");
    // Its worker is for other machines: where the server is has to be told.
    let told = format!("export TRIALOG_API_URL={} TRIALOG_TOKEN={}", newcomer.server.url(), newcomer.server.token());
    newcomer.follows(&["sweep", "--preset", "external"], &told);
    let external = client.get("sweeps/first-questions").expect(200);
    assert_eq!((&external["state"], &external["proposals"]), (&"Completed".into(), &12.into()), "{external}");
    newcomer.follows(&["sweep"], "");
    let plain = client.get("sweeps/first-sweep").expect(200);
    assert_eq!((&plain["state"], &plain["proposals"]), (&"Completed".into(), &12.into()), "{plain}");
}

#[test]
fn the_presets_of_libraries_are_accepted_and_the_one_of_scikit_learn_runs() {
    let Some(python) = python_with(&["sklearn"]) else { return };
    let newcomer = Newcomer::new(python);
    let _watchdog = Watchdog::new(LIMIT, newcomer.home.path(), "the presets of libraries");
    let cluster = "trialog cluster create local --vm-size D2 --max 1";
    newcomer.shell(newcomer.home.path(), cluster);
    for preset in ["sklearn", "pytorch"] {
        let folder = newcomer.home.join(preset);
        newcomer.shell(newcomer.home.path(), &format!("trialog init sweep {} --preset {preset}", folder.display()));
        let script = format!("{} -m py_compile train.py", newcomer.python.display());
        newcomer.shell(&folder, &format!("trialog sweep submit sweep.yaml --dry-run --strict; {script}"));
    }
    // The libraries are here already: nothing is installed.
    let here = format!("trial.environment={{python: {}}}", newcomer.python.display());
    let submit = format!("trialog sweep submit sweep.yaml --set '{here}' --set limits.max_total_trials=4 --follow");
    newcomer.shell(&newcomer.home.join("sklearn"), &submit);
    let forest = newcomer.server.client().get("sweeps/first-forest").expect(200);
    assert_eq!(forest["state"], "Completed", "{forest}");
    assert!(forest["best"]["value"].as_f64().is_some_and(|accuracy| accuracy > 0.8), "{forest}");
}

#[test]
fn the_first_hour_goes_from_nothing_to_an_answer_without_a_refusal() {
    // Who is refused on the way that we show goes elsewhere. One command that fails ends the shell.
    let Some(python) = python_with(&["venv"]) else { return };
    let newcomer = Newcomer::new(on_path(python));
    let _watchdog = Watchdog::new(LIMIT, newcomer.home.path(), "the first hour");
    let (shown, folder) = (root().join("examples/first-hour"), newcomer.home.join("first-hour"));
    newcomer.shell(newcomer.home.path(), &format!("cp -r {} {}", shown.display(), folder.display()));
    let printed = newcomer.shell(&folder, &commands(&folder.join("README.md")).join("\n"));
    assert_eq!(printed.lines().filter(|line| line.starts_with("{\"sold\": [")).count(), 1, "{printed}");
    // It was a real search, with all that happens in one, and it is cleared away.
    let client = newcomer.server.client();
    let version = client.get("models/stall/versions/1").expect(200);
    let sweep = client.get(&format!("sweeps/{}", version["sweep_id"].as_str().unwrap())).expect(200);
    let count = |name: &str| sweep["trial_counts"][name].as_u64().unwrap_or_default();
    assert!(count("Failed") > 0 && count("EarlyStopped") > 0 && count("Completed") > 1, "{sweep}");
    assert!(sweep["trials_without_value"].as_u64().is_some_and(|count| count > 0), "{sweep}");
    assert!(sweep["best"]["value"].as_f64().is_some_and(|rmse| rmse < 25.0), "{sweep}");
    for gone in ["sweeps/stall", "sweeps/stall-try", "endpoints/stall", "clusters/local"] {
        client.get(gone).expect(404);
    }
}

#[test]
fn the_first_page_shows_the_commands_of_the_first_hour() {
    // The page that most people see is the one that nobody runs.
    let first_page = std::fs::read_to_string(root().join("README.md")).unwrap();
    let section = first_page.split("\n## ").find(|section| section.starts_with("The first hour")).unwrap();
    assert!(section.trim_end().lines().count() <= 25, "a page is read at a glance");
    let shown = commands(&root().join("README.md"));
    let ["make install PREFIX=~/.local", "cd examples/first-hour"] = [&*shown[0], &*shown[1]] else {
        panic!("{shown:?}")
    };
    let mut run = commands(&root().join("examples/first-hour/README.md")).into_iter();
    for command in &shown[2..] {
        assert!(run.any(|known| known == *command), "{command}: not in the README of the first hour, or not there yet");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn on_path(program: PathBuf) -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&paths).map(|folder| folder.join(&program));
    if program.is_absolute() { program } else { places.into_iter().find(|p| p.exists()).expect("python3 on PATH") }
}
