//! A check of histories in the manner of Jepsen: eight clients work on the scaled form, while a nemesis kills, stops,
//! cuts and slows its processes, its database and its broker. Whatever was answered must have an order in which a
//! correct service would have answered so.
//!
//! TRIALOG_HISTORY_SECONDS: for how long (25). TRIALOG_HISTORY_SEED: repeats the choices of a run, as far as the
//! machine's own timing lets it.

#![cfg(feature = "postgres")]

mod batches;
mod books;
mod caller;
mod leases;
mod nemesis;
mod registers;
mod stage;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime::{MachineEntropy, Stopwatch};
use trialog_testkit::{Random, Watchdog, postgres};
use vocabulary::Entropy;

use books::Books;
use caller::Caller;
use nemesis::Nemesis;
use stage::Stage;

/// Who calls at once.
const CLIENTS: usize = 8;
/// Enough for each fault in every test run.
const SECONDS_DEFAULT: u64 = 25;
/// For the start, the last reads and the checks.
const LIMIT_BESIDE: Duration = Duration::from_secs(240);

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

#[test]
fn what_concurrent_clients_are_answered_has_an_order_whatever_is_killed_stopped_cut_or_slowed() {
    if postgres().is_none() {
        return;
    }
    let seed = number_from("TRIALOG_HISTORY_SEED").unwrap_or_else(|| MachineEntropy::default().seed() >> 32);
    let lasting = Duration::from_secs(number_from("TRIALOG_HISTORY_SECONDS").unwrap_or(SECONDS_DEFAULT));
    eprintln!("history: TRIALOG_HISTORY_SEED={seed} TRIALOG_HISTORY_SECONDS={}", lasting.as_secs());
    let mut stage = Stage::start();
    let limit = lasting + LIMIT_BESIDE;
    let _watchdog = Watchdog::new(limit, stage.places.home().path(), format!("the history with seed {seed}"));
    let client = stage.client();
    let books = Books::begin(&client, seed);
    let (done, watch) = (AtomicBool::new(false), Stopwatch::start());
    let mut nemesis = Nemesis::new(seed);
    std::thread::scope(|scope| {
        // Dropped also when somebody panics: nobody must go on for ever.
        let finish = Finish(&done);
        for who in 0..CLIENTS {
            let (books, client, done) = (&books, client.clone(), &done);
            let random = Random::new(seed.wrapping_add(who as u64 + 1).wrapping_mul(0x9E37_79B9));
            scope.spawn(move || {
                let finish = Finish(done);
                let mut caller = Caller::new(client, who, random);
                while !done.load(Ordering::SeqCst) {
                    books.turn(&mut caller);
                }
                drop(finish);
            });
        }
        while watch.elapsed() < lasting && !done.load(Ordering::SeqCst) {
            nemesis.strike(&mut stage);
        }
        stage.heal();
        drop(finish);
    });
    books.read_everything(&mut Caller::new(client, CLIENTS, Random::new(seed)));
    eprintln!("history: {nemesis}");
    books.check();
}

struct Finish<'a>(&'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
