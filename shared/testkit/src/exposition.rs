//! The text format of Prometheus, read strictly: what a scraper may forgive is a fault here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use crate::required::missing;

type Labels = BTreeMap<String, String>;

/// A page of measures.
#[derive(Debug, Default)]
pub struct Exposition {
    kinds: BTreeMap<String, String>,
    samples: Vec<(String, Labels, f64)>,
}

impl Exposition {
    /// Reads a page: each family once, with HELP, TYPE and then its samples; each series once; counters end in `_total`
    /// and are not below 0; histograms grow to `+Inf`, which is their count.
    ///
    /// # Errors
    /// The first fault, with its line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut page = Self::default();
        let (mut helped, mut seen) = (None::<String>, BTreeSet::new());
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("the last line does not end".to_owned());
        }
        for line in text.lines().filter(|line| !line.is_empty()) {
            let wrong = |what: &str| format!("{what}: {line}");
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').ok_or_else(|| wrong("no help"))?;
                if help.trim().is_empty() || page.kinds.contains_key(name) {
                    return Err(wrong("an empty help, or a second one"));
                }
                helped = Some(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("no type"))?;
                if helped.as_deref() != Some(name) || page.kinds.insert(name.to_owned(), kind.to_owned()).is_some() {
                    return Err(wrong("a type without its help before it, or a second one"));
                }
                if !["counter", "gauge", "histogram"].contains(&kind) || (kind == "counter") != name.ends_with("_total")
                {
                    return Err(wrong("an unknown type, or a counter that is not called _total"));
                }
            } else {
                let (name, labels, value) = sample(line).ok_or_else(|| wrong("no sample"))?;
                let family = helped.as_deref().ok_or_else(|| wrong("a sample of no family"))?;
                let kind = page.kinds.get(family).map(String::as_str).ok_or_else(|| wrong("a sample of no type"))?;
                let suffix = name.strip_prefix(family).ok_or_else(|| wrong("a sample outside of its family"))?;
                let is_its = if kind == "histogram" {
                    ["_bucket", "_sum", "_count"].contains(&suffix)
                } else {
                    suffix.is_empty()
                };
                if !is_its || (kind != "gauge" && value < 0.0) || !seen.insert((name.clone(), labels.clone())) {
                    return Err(wrong("not of its type, below 0, or a second one"));
                }
                page.samples.push((name, labels, value));
            }
        }
        page.check_histograms()?;
        let sampled = |(family, kind): &(&String, &String)| {
            let first = if *kind == "histogram" { format!("{family}_count") } else { (*family).clone() };
            page.samples.iter().any(|(name, ..)| *name == first)
        };
        match page.kinds.iter().find(|one| !sampled(one)) {
            Some((empty, _)) => Err(format!("{empty} has no sample")),
            None => Ok(page),
        }
    }

    fn check_histograms(&self) -> Result<(), String> {
        for (family, _) in self.kinds.iter().filter(|(_, kind)| *kind == "histogram") {
            let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
            for (_, labels, value) in self.samples.iter().filter(|(name, ..)| *name == format!("{family}_bucket")) {
                let mut labels = labels.clone();
                let bound = labels.remove("le").ok_or_else(|| format!("{family}: a bucket without a bound"))?;
                let bound = if bound == "+Inf" { Ok(f64::INFINITY) } else { bound.parse() };
                let bound = bound.map_err(|error| format!("{family}: {error}"))?;
                buckets.entry(labels).or_default().push((bound, *value));
            }
            for (labels, buckets) in buckets {
                let grows = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
                let exact = |end: &str| {
                    let name = format!("{family}_{end}");
                    self.samples
                        .iter()
                        .find(|(found, of, _)| *found == name && *of == labels)
                        .map(|(_, _, value)| *value)
                };
                let count = buckets.last().filter(|(bound, _)| *bound == f64::INFINITY).map(|(_, count)| *count);
                if !grows || count.is_none() || exact("count") != count || exact("sum").is_none() {
                    return Err(format!("{family}{labels:?}: its buckets do not grow to its count"));
                }
            }
        }
        Ok(())
    }

    /// The series of a name that has at least these labels; their sum, `None` without any.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |of: &Labels| labels.iter().all(|(name, value)| of.get(*name).is_some_and(|found| found == value));
        let found = self.samples.iter().filter(|(found, of, _)| found == name && has(of)).map(|(_, _, value)| *value);
        found.reduce(|sum, value| sum + value)
    }

    /// The values that a label has anywhere.
    pub fn label_values(&self, label: &str) -> BTreeSet<&str> {
        self.samples.iter().filter_map(|(_, labels, _)| labels.get(label)).map(String::as_str).collect()
    }

    /// The names of labels that there are anywhere.
    pub fn label_names(&self) -> BTreeSet<&str> {
        self.samples.iter().flat_map(|(_, labels, _)| labels.keys()).map(String::as_str).collect()
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// `name{label="value",…} value`
fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Labels::new(), rest),
    };
    let value = match rest.strip_prefix(' ')? {
        "+Inf" => f64::INFINITY,
        number => number.parse().ok().filter(|value: &f64| value.is_finite())?,
    };
    is_name(name).then(|| (name.to_owned(), labels, value))
}

/// What stands between braces, and what comes behind them.
fn labels(mut text: &str) -> Option<(Labels, &str)> {
    let mut found = Labels::new();
    loop {
        let (name, rest) = text.split_once("=\"")?;
        let (mut value, mut characters) = (String::new(), rest.char_indices());
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    plain @ ('\\' | '"') => plain,
                    _ => return None,
                }),
                (_, plain) => value.push(plain),
            }
        };
        if !is_name(name) || found.insert(name.to_owned(), value).is_some() {
            return None;
        }
        text = &rest[end + 1..];
        match text.strip_prefix(',') {
            Some(more) => text = more,
            None => return Some((found, text.strip_prefix('}')?)),
        }
    }
}

/// What Prometheus's own checker says about a page; empty when there is nothing to say. `None` where there is no
/// promtool and it is not required.
///
/// # Panics
/// When there is none and `TRIALOG_REQUIRE` names `promtool`.
pub fn promtool(page: &std::path::Path) -> Option<String> {
    let program = PathBuf::from(std::env::var_os("TRIALOG_TEST_PROMTOOL").unwrap_or_else(|| "promtool".into()));
    let input = std::fs::File::open(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    match Command::new(&program).args(["check", "metrics"]).stdin(input).output() {
        Ok(output) if output.status.success() => Some(String::new()),
        Ok(output) => {
            Some(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
        }
        Err(error) => {
            missing("promtool", &format!("{}: {error}; make test fetches promtool", program.display()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_page_is_found() {
        let good = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"1\\\"\\\\,}\",y=\"\"} 3\na_total 0.5\n\n\
                    # HELP b B.\n# TYPE b histogram\nb_bucket{le=\"1\"} 2\nb_bucket{le=\"+Inf\"} 3\n\
                    b_sum 4\nb_count 3\n";
        let page = Exposition::parse(good).unwrap();
        assert_eq!((page.sum("a_total", &[]), page.sum("a_total", &[("x", "1\"\\,}")])), (Some(3.5), Some(3.0)));
        assert_eq!((page.sum("a_total", &[("x", "2")]), page.sum("b_count", &[])), (None, Some(3.0)));
        for (from, to) in [
            ("# HELP a_total A.\n", ""),
            ("# TYPE a_total counter\n", ""),
            ("a_total", "a"),
            ("a_total 0.5", "a_total -0.5"),
            ("a_total 0.5", "a_total NaN"),
            ("a_total 0.5", "a_total 0.5\na_total 0.5"),
            ("a_total 0.5", "c_total 0.5"),
            ("y=\"\"", "x=\"\""),
            ("\\\"", "\\q"),
            ("le=\"1\"} 2", "le=\"1\"} 4"),
            ("b_bucket{le=\"+Inf\"} 3\n", ""),
            ("b_count 3", "b_count 4"),
            ("b_sum 4\n", ""),
            ("b_count 3\n", "b_count 3"),
            ("b_count 3\n", "b_count 3\n# HELP e E.\n# TYPE e gauge\n"),
        ] {
            let bad = good.replacen(from, to, if from == "a_total" { 99 } else { 1 });
            assert_ne!(bad, good, "{from}");
            assert!(Exposition::parse(&bad).is_err(), "{from:?} -> {to:?}:\n{bad}");
        }
    }
}
