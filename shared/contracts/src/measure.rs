//! What is measured, as `/metrics` shows it: whoever knows a number makes a family of it, the door renders them all.

use crate::health::{Family, Sample};

impl Family {
    /// What goes up and down.
    pub fn gauge(name: &str, help: &str) -> Self {
        Self::new(name, help, "gauge")
    }

    /// What only grows, until its process begins anew; its name ends in `_total`.
    pub fn counter(name: &str, help: &str) -> Self {
        Self::new(name, help, "counter")
    }

    /// How many of what is measured were at most so much.
    pub fn histogram(name: &str, help: &str) -> Self {
        Self::new(name, help, "histogram")
    }

    fn new(name: &str, help: &str, kind: &str) -> Self {
        Self { name: name.to_owned(), help: help.to_owned(), r#type: kind.to_owned(), samples: Vec::new() }
    }

    /// Adds a number. What labels say is of a few kinds only, however much happens: no ids of runs or requests.
    #[must_use]
    pub fn with(mut self, labels: &[(&str, &str)], value: f64) -> Self {
        self.add("", labels, value);
        self
    }

    /// Adds a number of a histogram: `suffix` is `_bucket`, `_sum` or `_count`.
    pub fn add(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples.push(Sample { suffix: suffix.to_owned(), labels, value });
    }
}
