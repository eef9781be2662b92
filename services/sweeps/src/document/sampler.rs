//! The sampling algorithm and its seed: `random`, or a map with `type`.

use documents::{Field, Fields, Tree, reference};
use strum::VariantNames;
use tuning::{Method, Rule, SamplerSpec};

use super::compat;

/// What the section says.
pub(super) struct Sampler {
    /// The algorithm.
    pub(super) spec: SamplerSpec,
    /// Its seed, if one was given.
    pub(super) seed: Option<u64>,
    /// The base of the log types.
    pub(super) logbase: Option<f64>,
}

pub(super) const KINDS: [&str; 3] = ["random", "grid", "bayesian"];

/// Reads the section.
pub(super) fn read(field: &Field<'_>, compat: bool) -> Option<Sampler> {
    match &field.node()?.value {
        Tree::Text(_) => {
            let spec = algorithm(field, None)?;
            Some(Sampler { spec, seed: None, logbase: None })
        }
        Tree::Map(_) => field.map().and_then(|fields| read_map(fields, compat)),
        _ => field.wrong_type("random, grid, or a map with a type"),
    }
}

fn read_map(mut fields: Fields<'_>, in_compat: bool) -> Option<Sampler> {
    let kind = fields.required("type");
    let spec = algorithm(&kind, Some(&mut fields));
    match &spec {
        Some(spec) => fields.described_by_kind(&reference::SAMPLERS, spec.kind()),
        None => fields.kind_is_unknown(),
    }
    let seed = fields.field("seed");
    let rule = "must be an integer in 0..2^64-1";
    let seedless = spec.as_ref().filter(|spec| in_compat && !matches!(spec, SamplerSpec::Random { .. }));
    if let Some(spec) = seedless.filter(|_| seed.is_present()) {
        let kind = spec.kind();
        seed.refuse("BadSeed", format_args!("goes with random only in compat azure, not with {kind}; remove it"));
    }
    let given = if seedless.is_some() {
        Some(None)
    } else if seed.is_present() {
        seed.integer_as("BadSeed", rule, true).map(Some)
    } else {
        Some(None)
    };
    if matches!(spec, Some(SamplerSpec::Bayesian { .. })) {
        let method = fields.field("method");
        if in_compat && method.is_present() {
            compat::refuse_native(&method, "method");
        }
    }
    // What the others say to it is a rule of the space, which knows the reason.
    let is_random = matches!(spec, Some(SamplerSpec::Random { .. }));
    let logbase = if is_random { fields.field("logbase") } else { fields.unlisted("logbase") };
    let logbase = read_logbase(&logbase);
    Some(Sampler { spec: spec?, seed: given?, logbase })
}

fn algorithm(kind: &Field<'_>, fields: Option<&mut Fields<'_>>) -> Option<SamplerSpec> {
    match kind.one_of("UnknownAlgorithm", &KINDS)? {
        "grid" => Some(SamplerSpec::Grid),
        "random" => {
            let rule = fields.and_then(|fields| fields.field("rule").one_of("UnknownRule", Rule::VARIANTS));
            Some(SamplerSpec::Random { rule: rule.and_then(|rule| rule.parse().ok()).unwrap_or_default() })
        }
        _ => {
            let method = fields.and_then(|fields| fields.field("method").one_of("UnknownMethod", Method::VARIANTS));
            Some(SamplerSpec::Bayesian { method: method.and_then(|method| method.parse().ok()).unwrap_or_default() })
        }
    }
}

/// A number, or "e", which is what an absent base means too.
fn read_logbase(field: &Field<'_>) -> Option<f64> {
    match &field.node()?.value {
        Tree::Text(text) if text == "e" => None,
        Tree::Number(_) => field.number(),
        _ => {
            field.refuse("BadLogbase", format_args!("a number > 0 and not 1, or \"e\"; received {}", field.received()));
            None
        }
    }
}
