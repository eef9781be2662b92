//! Who is killed, and while what was under way.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use trialog_testkit::invariants::Sample;
use trialog_testkit::{Kind, Process, Random, processes_of};

use super::calls::Calls;
use super::rows;
use super::stage::Stage;

/// Between two blows, in milliseconds.
const PAUSE_MS: (u64, u64) = (20, 900);
/// How long a process may stay away, in milliseconds.
const AWAY_MS: u64 = 400;
/// A kill in the middle of a start comes within so many milliseconds.
const START_MS: u64 = 1_500;
/// How long a command is waited for, before whatever else is under way is looked for.
const LOOK_PATIENCE: Duration = Duration::from_millis(150);
/// A trial whose shim was killed three times is given up as lost; each job's shim is killed fewer times than that.
const SHIM_KILLS_A_JOB: u32 = 2;
/// In the place of a service: the processes of nodes, which are there for trials.
const NODES: &str = "nodes";
/// Blows without a kill, one after the other, before the driver says that there is nothing to kill.
const MISSES_MAX: u32 = 300;
/// Of so many kills one is the database's, or the broker's.
const OF_OTHERS: u64 = 20;

/// What was killed, and what was under way.
pub struct Kills {
    random: Random,
    counts: BTreeMap<(String, &'static str), u64>,
    shims: BTreeMap<PathBuf, u32>,
    misses: u32,
    /// Cursors, each time that somebody was killed.
    pub samples: Vec<Sample>,
}

impl Kills {
    pub fn new(random: Random) -> Self {
        Self { random, counts: BTreeMap::new(), shims: BTreeMap::new(), misses: 0, samples: Vec::new() }
    }

    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// One blow and the pause after it.
    pub fn strike(&mut self, stage: &mut Stage, calls: &Calls) {
        std::thread::sleep(Duration::from_millis(PAUSE_MS.0 + self.random.below(PAUSE_MS.1 - PAUSE_MS.0)));
        stage.revive();
        let before = self.count();
        match self.random.below(OF_OTHERS) {
            0 => self.kill_the_database(stage, calls),
            1 => self.kill_the_broker(stage, calls),
            2..5 => self.kill_one(stage, calls, Kind::Agent),
            5 | 6 => self.kill_one(stage, calls, Kind::ShimServer),
            7..11 => self.kill_one(stage, calls, Kind::Shim),
            _ => self.kill_a_server(stage, calls),
        }
        self.misses = if self.count() == before { self.misses + 1 } else { 0 };
        assert!(self.misses < MISSES_MAX, "nothing is under way any more after {self}: has the sweep stopped?");
    }

    fn note(&mut self, victim: &str, during: &'static str) {
        eprintln!("scaled torture: {victim}, during a {during}");
        *self.counts.entry((victim.to_owned(), during)).or_default() += 1;
    }

    fn kill_a_server(&mut self, stage: &mut Stage, calls: &Calls) {
        let names: Vec<&'static str> = stage.servers.keys().copied().collect();
        let name = *self.random.pick(&names).expect("there are processes");
        let (away, in_its_start) = (self.random.below(2) * self.random.below(AWAY_MS), self.random.below(4) == 0);
        let start = self.random.below(START_MS);
        let service = name.split('-').next().expect("a name");
        let Some(during) = under_way(stage, calls, service) else { return };
        self.samples.extend(rows::samples(stage.database.url()));
        let server = stage.servers.get_mut(name).expect("it is one of them");
        server.kill();
        self.note(name, during);
        std::thread::sleep(Duration::from_millis(away));
        let server = stage.servers.get_mut(name).expect("it is one of them");
        server.begin();
        if in_its_start {
            std::thread::sleep(Duration::from_millis(start));
            let Some(during) = under_way(stage, calls, service) else { return };
            stage.servers.get_mut(name).expect("it is one of them").begin();
            self.note(&format!("{name} in its start"), during);
        }
    }

    fn kill_the_database(&mut self, stage: &mut Stage, calls: &Calls) {
        if let Some(during) = under_way(stage, calls, "runs") {
            stage.database.kill_and_restart();
            self.note("postgres", during);
        }
    }

    fn kill_the_broker(&mut self, stage: &mut Stage, calls: &Calls) {
        if stage.broker.is_none() {
            return;
        }
        if let Some(during) = under_way(stage, calls, "sweeps") {
            let broker = stage.broker.as_ref().expect("it was looked for");
            broker.kill();
            broker.restart();
            self.note("kafka", during);
        }
    }

    /// A process of a node: it lives while trials do.
    fn kill_one(&mut self, stage: &Stage, calls: &Calls, kind: Kind) {
        let job_of = |shim: &Process| Some(PathBuf::from(shim.attempt_folder()?.parent()?.file_name()?));
        let may = |process: &Process| {
            let job = job_of(process).filter(|_| kind == Kind::Shim);
            process.kind == kind && job.is_none_or(|job| self.shims.get(&job).copied() < Some(SHIM_KILLS_A_JOB))
        };
        let living: Vec<_> = processes_of(stage.places.home().path()).into_iter().filter(may).collect();
        let Some(victim) = self.random.pick(&living) else { return };
        let Some(during) = under_way(stage, calls, NODES) else { return };
        victim.kill();
        if kind == Kind::Shim {
            *self.shims.entry(job_of(victim).unwrap_or_default()).or_default() += 1;
        }
        self.note(&format!("{kind:?}").to_lowercase(), during);
    }
}

/// What a kill would fall into: a command that a client waits for at the service, a fact that a follower has not taken
/// in, or a trial that runs.
fn under_way(stage: &Stage, calls: &Calls, service: &str) -> Option<&'static str> {
    let runs = || processes_of(stage.places.home().path()).iter().any(|process| process.kind == Kind::Shim);
    if service == NODES && runs() {
        return Some("trial");
    }
    if calls.await_under_way(service, LOOK_PATIENCE) {
        return Some("command");
    }
    if !rows::behind(stage.database.url()).is_empty() {
        return Some("fact");
    }
    runs().then_some("trial")
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kills:", self.count())?;
        self.counts.iter().try_for_each(|((victim, during), count)| write!(f, " {victim} during a {during} {count},"))
    }
}
