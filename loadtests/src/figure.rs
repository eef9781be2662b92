//! One measured number.

use std::time::Duration;

use serde_json::json;

/// A measured number and what the machine could do at best in the same run.
pub struct Figure {
    /// Its name.
    pub what: &'static str,
    /// The number.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// The same work without Trialog; none where there is no such work.
    pub floor: Option<f64>,
}

impl Figure {
    /// One line of JSON. The ratio is value over floor: near 1 is as good as the machine allows.
    pub fn print(&self) {
        let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
        let ratio = self.floor.map(|floor| rounded(self.value / floor));
        let (value, floor) = (rounded(self.value), self.floor.map(rounded));
        println!("{}", json!({"what": self.what, "value": value, "unit": self.unit, "floor": floor, "ratio": ratio}));
    }
}

/// The middle one of some durations, in milliseconds.
pub fn median_ms(mut spans: Vec<Duration>) -> f64 {
    spans.sort();
    spans.get(spans.len() / 2).map_or(f64::NAN, |span| span.as_secs_f64() * 1000.0)
}
