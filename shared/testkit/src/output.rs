//! What attempts have written, kept beside the server by the scripts themselves, and the check that the server has all
//! of it: whatever became of the attempt, its node or the server.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::Client;

/// A shell function for scripts: `say LINE` writes the line to the standard output, and then notes it in the folder
/// `$SAID`. A script that is killed between the two has only said more than was noted.
pub const SAY: &str = r#"
say() { printf '%s\n' "$1"; printf '%s\n' "$1" >> "$SAID/$TRIALOG_RUN_ID.$TRIALOG_ATTEMPT"; }
"#;

/// Checks that the logs begin with what each attempt has noted, and that each metric in it is in the run's history
/// under its attempt; how many lines were noted.
///
/// # Panics
/// When something is not there.
pub fn check_everything_written(client: &Client, folder: &Path) -> usize {
    let mut lines = 0;
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("the folder of notes").flatten().map(|file| file.path()).collect();
    files.sort();
    for file in files {
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name of ours");
        let (run, attempt) = name.rsplit_once('.').expect("run and attempt");
        let noted = fs::read_to_string(&file).expect("a note");
        let logged = client.get(&format!("runs/{run}/logs?attempt={attempt}&stream=stdout"));
        assert_eq!(logged.status, 200, "{}", logged.text());
        let logged = logged.text();
        assert!(
            logged.starts_with(&noted),
            "{run}, attempt {attempt}: written\n{noted}\nlogged\n{logged}\n{}",
            client.get(&format!("runs/{run}")).text()
        );
        for line in noted.lines() {
            lines += 1;
            let Some(reported) =
                serde_json::from_str::<Value>(line).ok().filter(|reported| reported["trialog"] == "metric")
            else {
                continue;
            };
            let metric = reported["name"].as_str().expect("a metric has a name");
            let points = client.list(&format!("runs/{run}/metrics/{metric}"), "points");
            let is_it = |point: &&Value| {
                point["step"] == reported["step"]
                    && point["value"].as_f64() == reported["value"].as_f64()
                    && point["attempt"].as_u64() == attempt.parse().ok()
            };
            assert!(points.iter().any(|point| is_it(&point)), "{run}, attempt {attempt}: {line} is not in {points:?}");
        }
    }
    lines
}
