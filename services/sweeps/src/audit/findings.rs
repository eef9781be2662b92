//! What an audit finds, and how it is told.

use serde::Serialize;
use serde_json::{Value, json};
use tuning::{Decision, Proposal};

/// Something that the log says otherwise than the recomputation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Difference {
    /// Which trial.
    pub trial: u32,
    /// What about it.
    pub what: String,
    /// What the log says.
    pub recorded: Value,
    /// What follows from the log.
    pub recomputed: Value,
    /// Of two doubles: counted from the sign bit, which is 0.
    pub first_differing_bit: Option<u32>,
}

/// A double in JSON; a text when it is not finite.
pub(super) fn number(value: f64) -> Value {
    vocabulary::number::non_finite_text(value).map_or_else(|| json!(value), Value::from)
}

fn differing(trial: u32, what: &str, recorded: Value, recomputed: Value) -> Difference {
    Difference { trial, what: what.to_owned(), recorded, recomputed, first_differing_bit: None }
}

/// A difference of two doubles, bit for bit.
fn doubles(trial: u32, what: &str, recorded: f64, recomputed: f64) -> Option<Difference> {
    let bits = recorded.to_bits() ^ recomputed.to_bits();
    (bits != 0).then(|| Difference {
        first_differing_bit: Some(bits.leading_zeros()),
        ..differing(trial, what, number(recorded), number(recomputed))
    })
}

fn options(trial: u32, what: &str, recorded: Option<f64>, recomputed: Option<f64>) -> Option<Difference> {
    match (recorded, recomputed) {
        (Some(recorded), Some(recomputed)) => doubles(trial, what, recorded, recomputed),
        (None, None) => None,
        _ => {
            let shown = |value: Option<f64>| value.map_or(Value::Null, number);
            Some(differing(trial, what, shown(recorded), shown(recomputed)))
        }
    }
}

/// A difference of two things that are equal or not.
pub(super) fn plain<T: Serialize + PartialEq>(
    trial: u32,
    what: &str,
    recorded: &T,
    recomputed: &T,
) -> Option<Difference> {
    let shown = |value: &T| serde_json::to_value(value).unwrap_or_default();
    (recorded != recomputed).then(|| differing(trial, what, shown(recorded), shown(recomputed)))
}

/// How a suggestion differs from its recomputation.
pub(super) fn between_proposals(trial: u32, recorded: &Proposal, recomputed: Option<&Proposal>) -> Vec<Difference> {
    let Some(recomputed) = recomputed else {
        return vec![differing(trial, "proposal", json!(recorded), Value::Null)];
    };
    let mut found: Vec<Difference> = Vec::new();
    found.extend(plain(trial, "proposal.index", &recorded.index, &recomputed.index));
    found.extend(plain(trial, "proposal.redraw", &recorded.redraw, &recomputed.redraw));
    let names = |proposal: &Proposal| proposal.draws.iter().map(|draw| draw.name.clone()).collect::<Vec<_>>();
    found.extend(plain(trial, "proposal.parameters", &names(recorded), &names(recomputed)));
    for (ours, theirs) in recorded.draws.iter().zip(&recomputed.draws) {
        found.extend(doubles(trial, &format!("proposal.{}.u", ours.name), ours.u, theirs.u));
        let what = format!("proposal.{}.value", ours.name);
        match (ours.value.as_number(), theirs.value.as_number()) {
            (Some(recorded), Some(recomputed)) => found.extend(doubles(trial, &what, recorded, recomputed)),
            _ => found.extend(plain(trial, &what, &ours.value, &theirs.value)),
        }
    }
    found
}

/// How a decision differs from its recomputation.
pub(super) fn between_decisions(
    trial: u32,
    verdict: &str,
    recorded: Option<&Decision>,
    recomputed: Option<&Decision>,
) -> Vec<Difference> {
    let (Some(ours), Some(theirs)) = (recorded, recomputed) else {
        return vec![differing(trial, &format!("decision to {verdict}"), json!(recorded), json!(recomputed))];
    };
    let at = |what: &str| format!("decision {}.{what}", theirs.interval);
    let mut found: Vec<Difference> = Vec::new();
    found.extend(plain(trial, &at("policy"), &ours.policy, &theirs.policy));
    found.extend(plain(trial, &at("interval"), &ours.interval, &theirs.interval));
    found.extend(doubles(trial, &at("value"), ours.value, theirs.value));
    found.extend(options(trial, &at("threshold"), ours.threshold, theirs.threshold));
    found.extend(options(trial, &at("best"), ours.best, theirs.best));
    found.extend(plain(trial, &at("population"), &ours.population, &theirs.population));
    found.extend(plain(trial, &at("cut"), &ours.cut, &theirs.cut));
    found.extend(plain(trial, &at("rank"), &ours.rank, &theirs.rank));
    found.extend(plain(trial, &at("bracket"), &ours.bracket, &theirs.bracket));
    found.extend(plain(trial, &at("rung"), &ours.rung, &theirs.rung));
    found.extend(plain(trial, &at("kept"), &ours.kept, &theirs.kept));
    found.extend(options(trial, &at("optimistic"), ours.optimistic, theirs.optimistic));
    found.extend(plain(trial, &at("inputs"), &ours.inputs, &theirs.inputs));
    found
}

/// A rule of the system that the log breaks.
pub(super) fn broken(trial: u32, what: &str, recorded: Value, allowed: Value) -> Difference {
    differing(trial, what, recorded, allowed)
}
