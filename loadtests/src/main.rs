//! Load tests through the public interface of a running server: one line of JSON a figure, with the machine's own floor
//! of the same run. `TRIALOG` names the binary, which should be a release build; arguments name the figures to measure.

mod ask_tell;
mod door;
mod figure;
mod job_start;
mod metric_points;
mod scaled;
mod server_itself;
mod trials;
mod worst_body;

use std::time::Duration;

use figure::Figure;
use testkit::{Home, Options};

/// A figure's name and how it is measured; one measurement may give several.
type Measurement = (&'static str, fn(Options) -> anyhow::Result<Vec<Figure>>);

/// How long what a measurement has left may take to go.
const END_PATIENCE: Duration = Duration::from_secs(10);

const MEASUREMENTS: [Measurement; 6] = [
    ("ask_tell", ask_tell::measure),
    ("http_metric_points", metric_points::measure),
    ("job_start_p50", job_start::measure),
    ("start idle_memory", server_itself::measure),
    ("trials", trials::measure),
    ("worst_body worst_body_memory", worst_body::measure),
];

/// Of the scaled form, which needs PostgreSQL, Kafka and a binary with both: measured when they are named.
const SCALED: [Measurement; 2] =
    [("scaled_trials scaled_cpu", scaled::measure), ("fail_over_killed fail_over_frozen", scaled::fail_over)];

fn main() -> anyhow::Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    // One home until the end: ext4 makes files slowly for minutes after many were removed nearby, and most of what is
    // measured makes files.
    let home = Home::new();
    for (names, measure) in MEASUREMENTS.into_iter().chain(SCALED) {
        let is_common = MEASUREMENTS.iter().any(|(known, _)| *known == names);
        let is_wanted =
            (wanted.is_empty() && is_common) || wanted.iter().any(|name| names.split(' ').any(|known| known == name));
        if is_wanted {
            let name = names.split(' ').next().unwrap_or(names);
            measure(options(&home, name))?.iter().for_each(Figure::print);
            // Nodes outlive their server; those of the last measurement must not work during the next.
            testkit::kill_and_await(home.path(), END_PATIENCE);
        }
    }
    Ok(())
}

/// A server with a data folder of its own for each measurement.
fn options(home: &Home, name: &str) -> Options {
    Options { data: home.join(name), log: home.join(&format!("{name}.log")), ..Options::up(home) }
}
