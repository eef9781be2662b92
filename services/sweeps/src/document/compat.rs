//! `compat: azure`: what a sweep file moved from Azure may say otherwise than a native one, and what is refused in it.

use documents::{Field, Fields, Findings, Node, Tree};
use tuning::{SamplerSpec, SearchSpace};

use super::spec::Limits;
use super::template::{Argument, Reference, Template};

/// Azure's advice: so many trials for each parameter before a model is worth anything.
const TRIALS_A_PARAMETER: u64 = 20;
/// Azure's advice: more trials at once leave a model with too little to learn from.
const CONCURRENCY_MAX: u32 = 20;

/// Whether the document asks for the mode.
pub(super) fn read(field: &Field<'_>) -> bool {
    field.one_of("BadCompat", &["azure"]).is_some()
}

/// The same question before the document is taken apart.
pub(super) fn is_asked_for(document: &Node) -> bool {
    matches!(document.get("compat").map(|node| &node.value), Some(Tree::Text(text)) if text == "azure")
}

/// Writes parameters in the list form of Azure's first client, `[loguniform, [-6, -1]]`, as maps. What is not such a
/// list stays, and is refused where parameters are read.
pub(super) fn write_lists_as_maps(document: &mut Node) {
    let Tree::Map(sections) = &mut document.value else { return };
    let space = sections.iter_mut().find(|(name, _)| name == "search_space");
    let Some(Tree::Map(parameters)) = space.map(|(_, node)| &mut node.value) else { return };
    for (_, node) in parameters {
        if let Some(map) = as_map(node) {
            node.value = Tree::Map(map);
        }
    }
}

fn as_map(node: &Node) -> Option<Vec<(String, Node)>> {
    let Tree::List(items) = &node.value else { return None };
    let [kind, arguments] = items.as_slice() else { return None };
    let (Tree::Text(name), Tree::List(arguments)) = (&kind.value, &arguments.value) else { return None };
    let names = arguments_of(name);
    if arguments.len() > names.len() {
        return None;
    }
    let arguments = names.iter().map(|name| (*name).to_owned()).zip(arguments.iter().cloned());
    Some(std::iter::once(("type".to_owned(), kind.clone())).chain(arguments).collect())
}

/// The arguments in the order of the list form; of an unknown type there are none to say.
fn arguments_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "choice" => &["values"],
        "randint" => &["upper"],
        "uniform" | "loguniform" => &["min_value", "max_value"],
        "quniform" | "qloguniform" => &["min_value", "max_value", "q"],
        "normal" | "lognormal" => &["mu", "sigma"],
        "qnormal" | "qlognormal" => &["mu", "sigma", "q"],
        _ => &[],
    }
}

/// What is said to a parameter that is a list.
pub(super) fn refuse_list(field: &Field<'_>, compat: bool) {
    let expected = if compat { "a map, or [type, [its arguments]]" } else { "a map; lists are for compat azure" };
    field.refuse("WrongType", format_args!("expected {expected}, received {}", field.received()));
}

/// Refuses something of the native mode.
pub(super) fn refuse_native(field: &Field<'_>, what: &str) {
    field.refuse("NotInCompat", format_args!("{what} is not in compat azure; remove it or use the native mode"));
}

/// What Azure refuses or warns of beyond the rules on single parameters.
pub(super) fn check(sampler: &SamplerSpec, parameters: usize, limits: &Limits, policy: bool, findings: &Findings) {
    if !matches!(sampler, SamplerSpec::Bayesian { .. }) {
        return;
    }
    if policy {
        let message = "early_termination: bayesian sampling takes no policy in compat azure; remove one of the two";
        findings.refuse("/early_termination", "PolicyNotAllowed", message);
    }
    let advised = TRIALS_A_PARAMETER * parameters as u64;
    let (total, at_once) = (u64::from(limits.max_total_trials), limits.max_concurrent_trials);
    if total < advised {
        let message = format!(
            "limits.max_total_trials: {total} is few for bayesian; at least {advised} for {parameters} parameters"
        );
        findings.warn("/limits/max_total_trials", "FewTrials", message);
    }
    if at_once > CONCURRENCY_MAX {
        let message = format!(
            "limits.max_concurrent_trials: {at_once} trials at once leave bayesian little to learn from; at most \
             {CONCURRENCY_MAX}"
        );
        findings.warn("/limits/max_concurrent_trials", "HighConcurrency", message);
    }
}

/// The field of a limit: `timeout_seconds`, or Azure's `timeout`, which may be an ISO 8601 duration too.
pub(super) fn limit<'a>(fields: &mut Fields<'a>, ours: &'static str, azure: &'static str, compat: bool) -> Field<'a> {
    let own = fields.field(ours);
    if !compat {
        return own;
    }
    let other = fields.unlisted(azure);
    if own.is_present() && other.is_present() {
        other.refuse("ExactlyOne", format_args!("{ours} or {azure}: both are given, remove one"));
    }
    if other.is_present() { other } else { own }
}

/// The seconds of an ISO 8601 duration of weeks, days, hours, minutes and whole seconds: `P1DT2H30M`. Years and months
/// have no fixed length.
pub(super) fn duration_seconds(text: &str) -> Option<f64> {
    const DAY: u64 = 86_400;
    let rest = text.strip_prefix('P')?;
    let (date, time) = match rest.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (rest, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let mut seconds: u64 = 0;
    for (part, units) in [(date, [('W', 7 * DAY), ('D', DAY), ('\0', 0)]), (time, [('H', 3600), ('M', 60), ('S', 1)])] {
        let mut rest = part;
        for (unit, length) in units {
            if let Some((digits, after)) = rest.split_once(unit) {
                let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                let count: u64 = all_digits.then(|| digits.parse().ok()).flatten()?;
                seconds = seconds.checked_add(count.checked_mul(length)?)?;
                rest = after;
            }
        }
        if !rest.is_empty() {
            return None;
        }
    }
    Some(seconds as f64)
}

/// A command without references is given each parameter as `--name value`; an argument of the same name gives way, with
/// a warning.
pub(super) fn append_arguments(command: &mut Vec<Argument>, space: &SearchSpace, findings: &Findings) {
    let refers = |argument: &Argument| {
        argument.words().iter().flat_map(Template::references).any(|r| matches!(r, Reference::Parameter(_)))
    };
    if command.iter().any(refers) {
        return;
    }
    for parameter in &space.parameters {
        let flag = format!("--{}", parameter.name);
        if take_out(command, &flag) {
            let message =
                format!("trial.command: {flag} is given by search_space.{}; its own gives way", parameter.name);
            findings.warn("/trial/command", "ArgumentOverridden", message);
        }
        let words = [flag, format!("${{{{search_space.{}}}}}", parameter.name)];
        let words = words.iter().map(|word| Template::parse(word));
        // A name that no template can hold is refused as a name.
        command.extend(words.collect::<Result<Vec<_>, _>>().ok().map(Argument::Group));
    }
}

/// Takes `--name value` and `--name=value` out, wherever they stand behind the program.
fn take_out(command: &mut Vec<Argument>, flag: &str) -> bool {
    let before = command.len();
    let text_of = |argument: &Argument| match argument {
        Argument::Word(word) => Some(String::from(word.clone())),
        Argument::Group(_) => None,
    };
    let mut at = 1;
    while at < command.len() {
        let word = text_of(&command[at]);
        if word.as_ref().is_some_and(|word| word.strip_prefix(flag).is_some_and(|rest| rest.starts_with('='))) {
            command.remove(at);
        } else if word.as_deref() == Some(flag) {
            command.remove(at);
            let value = command.get(at).and_then(text_of);
            if value.is_some_and(|value| !value.starts_with("--") && (!value.starts_with('-') || is_number(&value))) {
                command.remove(at);
            }
        } else {
            at += 1;
        }
    }
    command.len() < before
}

fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::duration_seconds;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("PT1H", Some(3600.0)),
            ("P1DT2H30M5S", Some(95_405.0)),
            ("P2W", Some(1_209_600.0)),
            ("PT90S", Some(90.0)),
            ("PT0S", Some(0.0)),
            ("P", None),
            ("PT", None),
            ("P1M", None),
            ("P1Y", None),
            ("PT1M1H", None),
            ("PT1.5S", None),
            ("PT-1S", None),
            ("P1H", None),
            ("1H", None),
            ("PT99999999999999999999S", None),
        ] {
            assert_eq!(duration_seconds(text), seconds, "{text}");
        }
    }
}
