//! A sampler or a model that breaks: the sweep says so, and goes on when it can.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Bench, document};
use crate::reactions::keep_filling;
use crate::service::Core;
use crate::tuner::Tuners;

/// The warnings of a sweep, by code and message.
async fn warnings(bench: &Bench, sweep: vocabulary::SweepId) -> Vec<(String, String)> {
    let warnings = bench.sweep(sweep).await.warnings;
    warnings.into_iter().map(|warning| (warning.code, warning.message)).collect()
}

/// Fills with what breaks, twice, and then with what does not.
async fn breaks_and_goes_on(changes: Value, broken: impl FnOnce(&Core) -> Core, message: &str) {
    let bench = Bench::new().await;
    let core = broken(bench.api());
    let sweep = bench.submit_to(&core, &document(changes)).await;
    for _ in 0..2 {
        assert!(!keep_filling(&core, sweep).await, "it is tried again later");
        let found = warnings(&bench, sweep).await;
        assert_eq!(found.len(), 1, "once, however often it breaks: {found:?}");
        assert_eq!(found[0].0, "SamplerFailed");
        assert!(found[0].1.contains(message), "{found:?}");
    }
    let facts = bench.facts().await;
    assert!(facts.iter().any(|(kind, _)| kind == "SweepWarned"), "others hear of it");
    assert!(keep_filling(bench.api(), sweep).await);
    assert_eq!(bench.sweep(sweep).await.proposals, 2);
}

#[tokio::test]
async fn a_sampler_that_panics_leaves_a_warning() {
    // Its sweep would stand still and nobody could see why.
    let broken = |core: &Core| Core { sampler: |_, _| panic!("planted"), ..core.clone() };
    breaks_and_goes_on(json!({}), broken, "the sampler broke").await;
}

#[tokio::test]
async fn a_model_that_panics_leaves_a_warning_and_is_made_again() {
    // The same, and a model that is half changed must not make the next suggestion.
    let broken = |core: &Core| {
        let (log, clock, entropy) = (core.log.clone(), Arc::clone(&core.clock), Arc::clone(&core.entropy));
        Core { tuners: Tuners::new(log, clock, entropy, |_, _, _, _| panic!("planted")), ..core.clone() }
    };
    let changes = json!({"sampling_algorithm": {"type": "bayesian", "seed": 7}, "early_termination": {"type": "none"}});
    breaks_and_goes_on(changes, broken, "the model broke").await;
}
