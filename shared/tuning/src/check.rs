//! What is wrong with a search space: every rule on its parameters, all findings at once.

use std::collections::{HashMap, HashSet};

use crate::distribution::Manner;
use crate::environment::parameter_environment_name;
use crate::normal::inverse_normal;
use crate::space::{
    Bounds, CHOICE_VALUES_MAX, Distribution, INTEGER_MAX, Issue, PARAMETERS_MAX, Parameter, RANDINT_UPPER_MAX,
    SearchSpace,
};
use crate::value::{Value, number_text};

/// No parameter that anybody tunes is larger: bounds whose power is were meant as values.
const LIKELY_MAX: f64 = 1e15;
/// Longest name of a parameter.
const NAME_LENGTH_MAX: usize = 64;

impl SearchSpace {
    /// Everything wrong, or worth a warning, in the space itself. The rules of a sampler are in `SamplerSpec::check`.
    pub fn check(&self) -> Vec<Issue> {
        let mut issues = Vec::new();
        match self.parameters.len() {
            0 => {
                let message = "search_space: at least one parameter".to_owned();
                issues.push(Issue::error("", "", "EmptySpace", message));
            }
            count if count > PARAMETERS_MAX => {
                let message = format!("search_space has {count} parameters, limit {PARAMETERS_MAX}");
                issues.push(Issue::error("", "", "TooLarge", message));
            }
            _ => {}
        }
        let base_is_good = check_logbase(self.logbase, &mut issues);
        check_names(&self.parameters, &mut issues);
        let mut manner = Manner::of(self);
        manner.ln_base = manner.ln_base.filter(|_| base_is_good);
        for parameter in &self.parameters {
            let mut check = Check { parameter, manner, issues: &mut issues };
            check.in_compat();
            check.distribution();
        }
        crate::conditions::check(self, &mut issues);
        self.check_defaults(&mut issues);
        issues
    }

    /// A default is a value that its parameter can have. Those of parameters that are wrong themselves say nothing.
    fn check_defaults(&self, issues: &mut Vec<Issue>) {
        for (place, parameter) in self.parameters.iter().enumerate() {
            let name = &parameter.name;
            // Bounds that look like something else are bounds all the same.
            let wrong = |issue: &Issue| {
                let about_it = issue.parameter.is_empty() || issue.parameter == *name;
                about_it && !issue.warning && issue.code != "LikelyRealBounds"
            };
            let Some(default) = &parameter.default else { continue };
            if self.compat {
                let message = format!("{name}: default is not in compat azure; remove it or use the native mode");
                issues.push(Issue::error(name, "default", "NotInCompat", message));
            } else if !issues.iter().any(wrong)
                && let Err(wrong) = self.u_of(place, default)
            {
                let message = format!("{wrong}; the default must be a value of the parameter");
                issues.push(Issue::error(name, "default", "BadDefault", message));
            }
        }
    }
}

fn check_logbase(logbase: Option<f64>, issues: &mut Vec<Issue>) -> bool {
    let good = logbase.is_none_or(|base| base.is_finite() && base > 0.0 && base != 1.0);
    if let (false, Some(base)) = (good, logbase) {
        let message = format!("logbase {} must be > 0 and not 1, or \"e\"", number_text(base));
        issues.push(Issue::error("", "logbase", "BadLogbase", message));
    }
    good
}

fn check_names(parameters: &[Parameter], issues: &mut Vec<Issue>) {
    let mut names: HashMap<String, &str> = HashMap::new();
    for parameter in parameters {
        let name = parameter.name.as_str();
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let goes_well = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if !(starts_well && goes_well && name.len() <= NAME_LENGTH_MAX) {
            let message = format!("{name:?}: a letter or '_', then up to 63 letters, digits, '_', '.' or '-'");
            issues.push(Issue::error(name, "", "BadName", message));
        }
        let variable = parameter_environment_name(name);
        if let Some(earlier) = names.get(&variable) {
            let message = format!("{earlier}, {name}: {variable}; rename one of them");
            issues.push(Issue::error(name, "", "AmbiguousName", message));
        } else {
            names.insert(variable, name);
        }
    }
}

struct Check<'a> {
    parameter: &'a Parameter,
    manner: Manner,
    issues: &'a mut Vec<Issue>,
}

impl Check<'_> {
    fn error(&mut self, field: &str, code: &'static str, message: String) {
        self.issues.push(Issue::error(&self.parameter.name, field, code, message));
    }

    fn warning(&mut self, field: &str, code: &'static str, message: String) {
        self.issues.push(Issue::warning(&self.parameter.name, field, code, message));
    }

    /// `lr: min_value 0.1 `, the beginning of most messages.
    fn received(&self, field: &str, value: f64) -> String {
        format!("{}: {field} {}", self.parameter.name, number_text(value))
    }

    fn in_compat(&mut self) {
        if !self.manner.compat {
            return;
        }
        let (name, kind) = (&self.parameter.name, self.parameter.distribution.kind());
        let field = match self.parameter.distribution {
            Distribution::LogUniformValues { .. }
            | Distribution::QLogUniformValues { .. }
            | Distribution::IntUniform { .. } => Some("type"),
            Distribution::Choice { weights: Some(_), .. } => Some("weights"),
            Distribution::Choice { ordered: true, .. } => Some("ordered"),
            Distribution::Randint { grid_points: true, .. } | Distribution::Quniform { grid_points: true, .. } => {
                Some("grid_points")
            }
            _ => None,
        };
        let what = if field == Some("type") { kind } else { field.unwrap_or_default() };
        let message = format!("{name}: {what} is not in compat azure; remove it or use the native mode");
        if let Some(field) = field {
            self.error(field, "NotInCompat", message);
        }
        if !self.parameter.when.is_empty() {
            let message =
                format!("{}: when is not in compat azure; remove it or use the native mode", self.parameter.name);
            self.error("when", "NotInCompat", message);
        }
    }

    fn distribution(&mut self) {
        let parameter = self.parameter;
        match parameter.distribution {
            Distribution::Choice { ref values, ref weights, .. } => self.choice(values, weights.as_deref()),
            Distribution::Randint { upper, .. } => {
                if !(1..=RANDINT_UPPER_MAX).contains(&upper) {
                    self.error("upper", "BadUpper", bad_upper(&parameter.name, &upper.to_string()));
                }
            }
            Distribution::IntUniform { min_value, max_value, step, .. } => self.integers(min_value, max_value, step),
            Distribution::Normal { mu, sigma }
            | Distribution::Qnormal { mu, sigma, .. }
            | Distribution::Lognormal { mu, sigma }
            | Distribution::Qlognormal { mu, sigma, .. } => self.normal(mu, sigma),
            Distribution::Uniform { min_value, max_value }
            | Distribution::Quniform { min_value, max_value, .. }
            | Distribution::Loguniform { min_value, max_value, .. }
            | Distribution::Qloguniform { min_value, max_value, .. }
            | Distribution::LogUniformValues { min_value, max_value }
            | Distribution::QLogUniformValues { min_value, max_value, .. } => self.range(min_value, max_value),
        }
    }

    fn choice(&mut self, values: &[Value], weights: Option<&[f64]>) {
        let name = &self.parameter.name;
        if values.is_empty() {
            self.error("values", "EmptyChoice", format!("{name}: at least one value"));
        }
        if values.len() > CHOICE_VALUES_MAX {
            let message = format!("{name} has {} values, limit {CHOICE_VALUES_MAX}", values.len());
            self.error("values", "TooLarge", message);
            return;
        }
        for (at, value) in values.iter().enumerate() {
            if value.as_number().is_some_and(|number| !number.is_finite()) {
                let message = format!("{name}: values[{at}] is {value}; string, finite number or boolean");
                self.error(&format!("values/{at}"), "BadChoiceValue", message);
            }
        }
        self.issues.extend(check_choice(name, values.iter().enumerate(), values.len(), weights));
    }

    /// Whether all given numbers are finite; reports those that are not.
    fn finite(&mut self, fields: &[(&str, f64)]) -> bool {
        for (field, value) in fields {
            if !value.is_finite() {
                let message = format!("{} must be a finite number", self.received(field, *value));
                self.error(field, "NotFinite", message);
            }
        }
        fields.iter().all(|(_, value)| value.is_finite())
    }

    fn quantum(&mut self) -> bool {
        let Some(q) = self.parameter.distribution.quantum() else {
            return true;
        };
        if !self.finite(&[("q", q)]) {
            return false;
        }
        if q <= 0.0 || !(1.0 / q).is_finite() {
            let fix = if q <= 0.0 { "must be > 0" } else { "is too small to divide by" };
            let message = format!("{}: q {} {fix}", self.parameter.name, number_text(q));
            self.error("q", "BadQuantum", message);
            return false;
        }
        true
    }

    fn normal(&mut self, mu: f64, sigma: f64) {
        let good_q = self.quantum();
        if !self.finite(&[("mu", mu), ("sigma", sigma)]) {
            return;
        }
        if sigma < 0.0 {
            let message = format!("{} must be >= 0", self.received("sigma", sigma));
            self.error("sigma", "BadSigma", message);
            return;
        }
        if sigma == 0.0 {
            let message = format!("{}: sigma 0 draws the same value each time", self.parameter.name);
            self.warning("sigma", "ZeroSigma", message);
        }
        if good_q && !self.tails_are_finite(mu, sigma) {
            let name = &self.parameter.name;
            let (mu, sigma) = (number_text(mu), number_text(sigma));
            let message = format!("{name}: mu {mu} with sigma {sigma} reaches values that are not finite; lower them");
            self.error("mu", "Overflow", message);
        }
    }

    /// Whether the outermost draws, and their number of steps, are finite.
    fn tails_are_finite(&self, mu: f64, sigma: f64) -> bool {
        let reach = inverse_normal(1.0 - f64::EPSILON / 2.0) * sigma;
        let logarithmic =
            matches!(self.parameter.distribution, Distribution::Lognormal { .. } | Distribution::Qlognormal { .. });
        [mu - reach, mu + reach].into_iter().all(|end| {
            let value = if logarithmic { self.manner.power(end) } else { end };
            value.is_finite() && self.parameter.distribution.quantum().is_none_or(|q| (value / q).is_finite())
        })
    }

    fn range(&mut self, min: f64, max: f64) {
        let good_q = self.quantum();
        if !self.finite(&[("min_value", min), ("max_value", max)]) {
            return;
        }
        let may_be_equal = matches!(self.parameter.distribution, Distribution::Loguniform { .. });
        if min > max || (min == max && !may_be_equal) {
            let (relation, max) = (if may_be_equal { "<=" } else { "<" }, number_text(max));
            let message = format!("{} must be {relation} max_value {max}", self.received("min_value", min));
            self.error("min_value", "BadRange", message);
            return;
        }
        if min == max {
            self.always_the_same(min);
        }
        let takes_logarithms = matches!(
            self.parameter.distribution,
            Distribution::LogUniformValues { .. } | Distribution::QLogUniformValues { .. }
        );
        if takes_logarithms && min <= 0.0 {
            let message = format!("{} must be > 0; its logarithm is taken", self.received("min_value", min));
            self.error("min_value", "LogOfNonPositive", message);
            return;
        }
        if self.overflows(min, max) || !good_q {
            return;
        }
        self.real_bounds(min, max);
        self.steps();
    }

    fn always_the_same(&mut self, min: f64) {
        let name = &self.parameter.name;
        let message = format!("{name}: min_value = max_value {} draws the same value each time", number_text(min));
        self.warning("min_value", "ZeroRange", message);
    }

    fn integers(&mut self, min: i64, max: i64, step: u64) {
        let mut good = true;
        for (field, value) in [("min_value", min), ("max_value", max)] {
            if !(-INTEGER_MAX..=INTEGER_MAX).contains(&value) {
                good = false;
                let message = format!("{}: {field} {value} must be in -2^53..=2^53", self.parameter.name);
                self.error(field, "BadRange", message);
            }
        }
        if step == 0 {
            good = false;
            self.error("step", "BadQuantum", format!("{}: step 0 must be an integer >= 1", self.parameter.name));
        }
        if min > max {
            let message = format!("{}: min_value {min} must be <= max_value {max}", self.parameter.name);
            self.error("min_value", "BadRange", message);
        } else if good && max - min >= INTEGER_MAX {
            let message = format!("{}: more than 2^53 integers; narrow the range", self.parameter.name);
            self.error("max_value", "Overflow", message);
        } else if good && min == max {
            self.always_the_same(min as f64);
        } else if good && (max - min).unsigned_abs() < step {
            let message =
                format!("{}: only {min}, a step of {step} leads out of the range; use choice", self.parameter.name);
            self.error("step", "DegenerateRange", message);
        }
    }

    /// Reports what is not finite about the width or the powers of the bounds.
    fn overflows(&mut self, min: f64, max: f64) -> bool {
        let before = self.issues.len();
        if !(max - min).is_finite() {
            let message = format!("{}: max_value - min_value is not finite; narrow the range", self.parameter.name);
            self.error("max_value", "Overflow", message);
        }
        let logarithmic = self.parameter.distribution.has_exponents();
        for (field, value) in [("min_value", min), ("max_value", max)] {
            if logarithmic && !self.manner.power(value).is_finite() {
                let message = match self.manner.ln_base {
                    None => format!("exp({}) is not finite; bounds are natural-log exponents", number_text(value)),
                    Some(_) => {
                        format!("logbase to the power {} is not finite; bounds are exponents", number_text(value))
                    }
                };
                self.error(field, "Overflow", message);
            }
        }
        self.issues.len() > before
    }

    /// Refuses exponents that look like values, unless the document says that they are exponents.
    fn real_bounds(&mut self, min: f64, max: f64) {
        let (bounds, meant) = match self.parameter.distribution {
            Distribution::Loguniform { bounds, .. } => (bounds, "log_uniform_values"),
            Distribution::Qloguniform { bounds, .. } => (bounds, "q_log_uniform_values"),
            _ => return,
        };
        let Some((low, high)) = self.parameter.distribution.bounds(self.manner) else { return };
        let look_real = 0.0 < min && min < max && (max <= 1.0 || high.max(low) > LIKELY_MAX);
        if !look_real || self.manner.compat || matches!(bounds, Bounds::Exponents) {
            return;
        }
        let name = &self.parameter.name;
        let message = format!(
            "{name}: values will lie in [{},{}]; write {meant}, or bounds: exponents",
            rounded(low),
            rounded(high)
        );
        self.error("min_value", "LikelyRealBounds", message);
    }

    fn steps(&mut self) {
        let name = &self.parameter.name;
        let distribution = &self.parameter.distribution;
        let (Some(q), Some((low, high))) = (distribution.quantum(), distribution.bounds(self.manner)) else {
            return;
        };
        if !((low / q).is_finite() && (high / q).is_finite()) {
            let message = format!("{name}: the bounds hold too many steps of q {}; use a larger q", number_text(q));
            self.error("q", "Overflow", message);
            return;
        }
        let Some(lattice) = distribution.lattice(self.manner) else {
            return;
        };
        let (q_text, low, high) = (number_text(q), number_text(low), number_text(high));
        match lattice.count() {
            0 => {
                let message = format!("{name}: no multiple of {q_text} in [{low}, {high}]; widen the range or lower q");
                self.error("q", "EmptyAfterQuantisation", message);
            }
            1 => {
                let only = number_text(lattice.value(0));
                self.error("q", "DegenerateRange", format!("{name}: only {only}; use choice"));
            }
            _ => {}
        }
    }
}

/// A number in a message: two digits behind the point, and a power of ten for large ones.
fn rounded(value: f64) -> String {
    if value < 1e6 { format!("{value:.2}") } else { format!("{value:.2e}") }
}

/// The rules on the list of a choice with so many values, of which those are known that could be read: an earlier one
/// of the same type and value, and weights that do not fit.
pub fn check_choice<'v>(
    name: &str,
    values: impl Iterator<Item = (usize, &'v Value)>,
    count: usize,
    weights: Option<&[f64]>,
) -> Vec<Issue> {
    let mut earlier = HashSet::new();
    let again = values.filter(|(_, value)| !earlier.insert(*value));
    let repeats = |(at, value): (usize, &Value)| {
        let message = format!("{name}.values[{at}] repeats {}; use weights", value.quoted());
        Issue::error(name, &format!("values/{at}"), "DuplicateValue", message)
    };
    let mut issues: Vec<Issue> = again.map(repeats).collect();
    let Some(weights) = weights else { return issues };
    let mut wrong = |field: &str, message| issues.push(Issue::error(name, field, "BadWeights", message));
    if weights.len() != count {
        wrong("weights", format!("{name}: {} weights for {count} values; give one for each", weights.len()));
    }
    for (at, weight) in weights.iter().enumerate() {
        if !(weight.is_finite() && *weight > 0.0) {
            let message = format!("{name}: weights[{at}] {} must be a finite number > 0", number_text(*weight));
            wrong(&format!("weights/{at}"), message);
        }
    }
    let sum = weights.iter().fold(0.0, |sum, weight| sum + weight);
    if sum.is_infinite() && weights.iter().all(|weight| weight.is_finite()) {
        wrong("weights", format!("{name}: the sum of the weights is not finite; scale them down"));
    }
    issues
}

/// The message of `BadUpper`, also for what a document reader receives and no u64 can hold.
pub fn bad_upper(name: &str, received: &str) -> String {
    format!("{name}: upper {received} must be in 1..={RANDINT_UPPER_MAX}")
}
