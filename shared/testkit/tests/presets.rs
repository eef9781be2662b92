//! What `trialog init` writes runs at once: the commands of each README, as they stand there.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by a panic too")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use trialog_testkit::{Home, Options, Server, Watchdog, binary, python_with};

/// For everything: twelve short trials on two nodes, four times at most.
const LIMIT: Duration = Duration::from_secs(300);

struct Newcomer {
    home: Home,
    server: Server,
    python: PathBuf,
}

impl Newcomer {
    fn new(python: PathBuf) -> Self {
        let home = Home::new();
        let server = Server::start(Options::up(&home));
        Self { home, server, python }
    }

    /// Writes the files and runs the commands of the README; what they print.
    fn follows(&self, words: &[&str]) -> String {
        let folder = self.home.join(&words.join("-"));
        self.shell(self.home.path(), &format!("trialog init {} {}", words.join(" "), folder.display()));
        let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
        let commands = readme.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        self.shell(&folder, commands)
    }

    fn shell(&self, folder: &Path, commands: &str) -> String {
        let (program, python) = (binary(), self.python.parent().unwrap());
        let before = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{}:{before}", program.parent().unwrap().display(), python.display());
        let output = Command::new("sh")
            .args(["-ec", commands])
            .current_dir(folder)
            .env("PATH", path)
            .env("TRIALOG_API_URL", self.server.url())
            .env("TRIALOG_TOKEN", self.server.token())
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{commands}\n{out}\n{err}");
        out.into_owned()
    }
}

#[test]
fn what_init_writes_runs_as_its_readme_says() {
    let Some(python) = python_with(&["json"]) else { return };
    let python = if python.is_absolute() { python } else { on_path(&python) };
    let newcomer = Newcomer::new(python);
    let _watchdog = Watchdog::new(LIMIT, newcomer.home.path(), "the presets");
    let client = newcomer.server.client();
    let answered = newcomer.follows(&["endpoint"]);
    assert!(answered.contains("\"doubled\"") && answered.contains('6'), "{answered}");
    newcomer.follows(&["run"]);
    newcomer.follows(&["sweep", "--preset", "external"]);
    let external = client.get("sweeps/first-questions").expect(200);
    assert_eq!((&external["state"], &external["proposals"]), (&"Completed".into(), &12.into()), "{external}");
    newcomer.follows(&["sweep"]);
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

fn on_path(program: &Path) -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| path.exists());
    found.expect("python3 on PATH")
}
