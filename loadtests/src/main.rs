//! Load tests through the public interface of a running server: one line of JSON a figure, with the machine's own
//! floor of the
//! same run. `TRIALOG` names the binary, which should be a release build; arguments name the figures to measure.

mod door;
mod figure;
mod job_start;
mod metric_points;
mod server_itself;
mod trials;

use figure::Figure;

/// A figure's name and how it is measured; one measurement may give several.
type Measurement = (&'static str, fn() -> anyhow::Result<Vec<Figure>>);

const MEASUREMENTS: [Measurement; 4] = [
    ("http_metric_points", metric_points::measure),
    ("job_start_p50", job_start::measure),
    ("start idle_memory", server_itself::measure),
    ("trials", trials::measure),
];

fn main() -> anyhow::Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    for (names, measure) in MEASUREMENTS {
        let is_wanted = wanted.is_empty() || wanted.iter().any(|name| names.split(' ').any(|known| known == name));
        if is_wanted {
            measure()?.iter().for_each(Figure::print);
        }
    }
    Ok(())
}
