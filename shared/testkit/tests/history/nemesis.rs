//! Who breaks what, for how long: all of it follows from the seed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use trialog_testkit::{Link, Random};

use super::stage::Stage;

/// Between two blows, in milliseconds.
const PAUSE_MS: (u64, u64) = (200, 1_500);
/// How long a process stays dead, in milliseconds: a lease is 3 s.
const DEAD_MS: (u64, u64) = (0, 2_000);
/// How long one stands still: from shorter than a lease to twice as long.
const STILL_MS: (u64, u64) = (300, 6_000);
/// How long a link is broken.
const BROKEN_MS: (u64, u64) = (200, 4_500);
/// Whose processes are struck.
const SERVICES: [&str; 5] = ["runs", "sweeps", "models", "gateway", "front"];
/// How late a slow link carries.
const LATE_MS: (u64, u64) = (5, 120);
/// The first blows, so that a short run has each kind: where they hurt, and long enough for a lease to run out.
const FIRST: [(Fault, &str, u64); 8] = [
    (Fault::Stop, "models", 4_500),
    (Fault::Kill, "sweeps", 3_500),
    (Fault::Cut, "runs", 800),
    (Fault::Kill, "gateway", 100),
    (Fault::Hold, "sweeps", 3_000),
    (Fault::Slow, "models", 1_000),
    (Fault::Kill, "runs", 100),
    (Fault::Database, "", 0),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    Stop,
    Cut,
    Slow,
    Hold,
    Database,
    Broker,
}

/// What was done.
pub struct Nemesis {
    random: Random,
    blows: BTreeMap<(Fault, &'static str), u64>,
    struck: usize,
    revived: u64,
}

impl Nemesis {
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), blows: BTreeMap::new(), struck: 0, revived: 0 }
    }

    fn within(&mut self, (least, most): (u64, u64)) -> Duration {
        Duration::from_millis(least + self.random.below(most - least))
    }

    /// What comes next, where, and for how long. As much is drawn each time, so that a seed goes on as it did.
    fn next(&mut self) -> (Fault, String, Duration) {
        let fault = match self.random.below(16) {
            0..5 => Fault::Kill,
            5..9 => Fault::Stop,
            9 | 10 => Fault::Cut,
            11 => Fault::Slow,
            12 | 13 => Fault::Hold,
            14 => Fault::Database,
            _ => Fault::Broker,
        };
        let service = *self.random.pick(&SERVICES).expect("there are some");
        let (dead, still, broken) = (self.within(DEAD_MS), self.within(STILL_MS), self.within(BROKEN_MS));
        let lasting = match fault {
            Fault::Kill => dead,
            Fault::Stop => still,
            _ => broken,
        };
        self.struck += 1;
        match FIRST.get(self.struck - 1) {
            Some((fault, service, lasting)) => (*fault, (*service).to_owned(), Duration::from_millis(*lasting)),
            None => (fault, service.to_owned(), lasting),
        }
    }

    /// One blow, and the pause after it.
    pub fn strike(&mut self, stage: &mut Stage) {
        let (fault, service, lasting) = self.next();
        let (late, pause, is_standby) =
            (self.within(LATE_MS), self.within(PAUSE_MS), self.struck > FIRST.len() && self.random.below(8) == 0);
        self.revived += stage.revive();
        let victim = match fault {
            Fault::Database => "postgres",
            Fault::Broker if stage.broker.is_none() => return,
            Fault::Broker => "kafka",
            _ => stage.process_of(&service, is_standby),
        };
        eprintln!("history: {fault:?} {victim}");
        *self.blows.entry((fault, victim)).or_default() += 1;
        match fault {
            Fault::Kill => {
                let server = stage.servers.get_mut(victim).expect("a process");
                server.kill();
                std::thread::sleep(lasting);
                server.begin();
            }
            Fault::Stop => {
                let server = &stage.servers[victim];
                server.freeze(true);
                std::thread::sleep(lasting);
                server.freeze(false);
            }
            Fault::Cut | Fault::Slow | Fault::Hold => {
                let link = match fault {
                    Fault::Cut => Link::Cut,
                    Fault::Slow => Link::Slow(late),
                    _ => Link::Still,
                };
                stage.proxies[victim].set(link);
                std::thread::sleep(lasting);
                stage.proxies[victim].set(Link::Through);
            }
            Fault::Database => stage.database.kill_and_restart(),
            Fault::Broker => {
                let broker = stage.broker.as_ref().expect("it was looked for");
                broker.kill();
                broker.restart();
            }
        }
        std::thread::sleep(pause);
    }
}

impl fmt::Display for Nemesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} blows:", self.blows.values().sum::<u64>())?;
        for ((fault, victim), count) in &self.blows {
            write!(f, " {fault:?} {victim} {count},")?;
        }
        write!(f, " {} processes that had ended by themselves were started again", self.revived)
    }
}
