//! A sampler or a model that breaks: the sweep says so, and goes on when it can.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use runtime::background::Broken;
use serde_json::{Value, json};

use super::modelled::{modelled, pair};
use super::{Bench, document};
use crate::reactions::{keep_filling, propose};
use crate::service::Core;
use crate::sweep::proposals;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fit_that_panics_leaves_a_warning_and_the_sweep_goes_on_without_it() {
    let bench = Bench::new().await;
    let core = bench.api();
    let core = Core { tuners: core.tuners.clone().fitting(|_| panic!("planted")), ..core.clone() };
    let sweep = bench.submit_to(&core, &modelled(json!({}))).await;
    for index in 0..20 {
        assert_eq!(pair(&core, sweep).await.index, index);
    }
    let mut head = core.log.head();
    let warned = async {
        while warnings(&bench, sweep).await.is_empty() {
            head.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), warned).await.expect("a warning");
    let found = warnings(&bench, sweep).await;
    assert_eq!((found.len(), found[0].0.as_str()), (1, "FitFailed"), "once: {found:?}");
    assert!(found[0].1.contains("the fit broke"), "{found:?}");
    assert_eq!(pair(&core, sweep).await.index, 20);
}

#[test]
fn a_machine_without_threads_recovers_and_a_panic_does_not() {
    let of = |broken| contracts::problem_of(&super::super::broken(broken));
    let busy = of(Broken::NoThread(std::io::ErrorKind::WouldBlock.into()));
    assert_eq!((busy.status, busy.code.as_str(), busy.retry_after_seconds), (503, "Busy", Some(1)));
    assert_eq!(of(Broken::Panicked).status, 500);
}

/// Whether the slow sampler may go on.
static GOES_ON: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

#[tokio::test]
async fn a_slow_sweep_holds_up_no_other() {
    // A sampler in a space that is nearly used up may take minutes; other sweeps have free nodes meanwhile.
    let bench = Bench::new().await;
    let empty = Core { sampler: |_, _| panic!("planted: no first trials"), ..bench.api().clone() };
    let named = |name: &str| document(json!({"name": name}));
    let slow = bench.submit_to(&empty, &named("slow")).await;
    let core = Core {
        sampler: |basis, most| {
            if basis.spec.name.as_deref() == Some("slow") {
                let waits = GOES_ON.1.wait_while(GOES_ON.0.lock().unwrap(), |goes_on| !*goes_on);
                drop(waits.unwrap());
            }
            proposals(basis, most)
        },
        ..bench.api().clone()
    };
    let shutdown = runtime::Shutdown::new();
    let task = tokio::spawn(propose(core, shutdown.clone()));
    let proposes = async |sweep, name: &str| {
        let mut head = bench.api().log.head();
        let proposed = async {
            while bench.sweep(sweep).await.proposals < 2 {
                head.changed().await.unwrap();
            }
        };
        let proposed = tokio::time::timeout(Duration::from_secs(20), proposed).await;
        // Also when it fails: no thread is left behind that waits for ever.
        if proposed.is_err() {
            let_go_on();
            panic!("{name} waits for another sweep");
        }
    };
    // More than have a place at once, one wake-up after another.
    for number in 0..10 {
        let name = format!("quick-{number}");
        let quick = bench.submit_to(&empty, &named(&name)).await;
        proposes(quick, &name).await;
    }
    assert_eq!(bench.sweep(slow).await.proposals, 0);
    let_go_on();
    proposes(slow, "slow").await;
    shutdown.request();
    task.await.unwrap().unwrap();
}

fn let_go_on() {
    *GOES_ON.0.lock().unwrap() = true;
    GOES_ON.1.notify_all();
}

#[tokio::test]
async fn a_log_that_does_not_take_anything_for_long_leaves_its_place_to_others() {
    let bench = Bench::new().await;
    let sweep = bench.submit(&document(json!({}))).await;
    bench.api().log.clone().close().await;
    let filled = tokio::time::timeout(Duration::from_secs(20), keep_filling(bench.api(), sweep)).await;
    assert!(!filled.expect("it ends"), "it is tried again later");
}
