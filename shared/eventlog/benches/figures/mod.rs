//! What benchmarks of the log share: how figures are printed, and what is appended.

pub mod series;

/// One line of JSON: the figure, and what the machine does at best in the same run.
pub fn line(what: &str, value: f64, unit: &str, floor: Option<f64>) {
    let ratio = floor.map(|floor| (value / floor * 1_000.0).round() / 1_000.0);
    let (value, floor) = ((value * 100.0).round() / 100.0, floor.map(f64::round));
    println!("{}", serde_json::json!({"what": what, "value": value, "unit": unit, "floor": floor, "ratio": ratio}));
}

/// The same, and a word when it is below its bar.
pub fn report(what: &str, value: f64, unit: &str, floor: f64, bar: f64) {
    line(what, value, unit, Some(floor));
    if value < bar {
        eprintln!("{what}: {value:.0} {unit} is below the bar of {bar:.0}");
    }
}

/// Whether a figure was picked, or none was. Cargo itself passes `--bench`.
pub fn wanted(what: &str) -> bool {
    let mut picked = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).peekable();
    picked.peek().is_none() || picked.any(|picked| picked == what)
}

/// `TRIALOG_BENCH_ROWS`, 0 without it: how many events and commands are there before a figure is taken. An index of
/// millions of rows costs more than an empty one.
pub fn rows_before() -> i64 {
    std::env::var("TRIALOG_BENCH_ROWS").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}
