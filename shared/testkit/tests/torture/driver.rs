//! Who kills what, and when: all of it follows from the seed and from what lives at that moment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Client, Home, Kind, Process, Random, Server, await_that, processes_of};

use super::{CLUSTER, NOTICE_SECONDS};

/// Between two blows, in milliseconds: from "in the middle of the recovery from the last" to "all is quiet again".
const PAUSE_MS: (u64, u64) = (20, 600);
/// How long the server may stay away, in milliseconds.
const AWAY_MS: u64 = 300;
/// A kill in the middle of a start comes within so many milliseconds: about as long as a start takes.
const START_MS: u64 = 120;
/// A trial whose shim was killed three times is given up as lost; so each job's shim is killed fewer times than that.
const SHIM_KILLS_A_JOB: u32 = 2;
/// Looks for a victim before the driver says that there is none: each waits one pause.
const LOOKS_MAX: u32 = 400;
/// How long a node may take to come that can be preempted.
const NODE_PATIENCE: Duration = Duration::from_secs(20);

/// What was done.
#[derive(Debug, Default)]
pub struct Story {
    /// Kills of the server.
    pub servers: u64,
    /// Kills of agents.
    pub agents: u64,
    /// Kills of shims.
    pub shims: u64,
    /// Kills of what forks them.
    pub shim_servers: u64,
    /// Preempted nodes.
    pub preemptions: u64,
    /// Preemptions whose notice passed while the server was away.
    pub unwitnessed: u64,
}

impl Story {
    fn kills(&self) -> u64 {
        self.servers + self.agents + self.shims + self.shim_servers
    }
}

/// Kills until it has killed `kills` times.
///
/// # Panics
/// When there is nothing to kill for a long time.
pub fn drive(home: &Home, server: &Mutex<Server>, client: &Client, seed: u64, kills: u64) -> Story {
    let mut random = Random::new(seed);
    let mut story = Story::default();
    let mut killed_shims: BTreeMap<PathBuf, u32> = BTreeMap::new();
    let mut looks = 0;
    while story.kills() < kills {
        // Where in the work a kill falls is drawn: there is no event to wait for.
        std::thread::sleep(Duration::from_millis(PAUSE_MS.0 + random.below(PAUSE_MS.1 - PAUSE_MS.0)));
        let before = story.kills();
        match random.below(10) {
            0..3 => story.servers += kill_the_server(server, &mut random),
            3..5 => story.agents += kill_one(home, Kind::Agent, &mut random, |_| true).map_or(0, |_| 1),
            5 => story.shim_servers += kill_one(home, Kind::ShimServer, &mut random, |_| true).map_or(0, |_| 1),
            6..8 => {
                let may = |shim: &Process| {
                    job_of(shim).is_some_and(|job| killed_shims.get(&job).copied() < Some(SHIM_KILLS_A_JOB))
                };
                if let Some(shim) = kill_one(home, Kind::Shim, &mut random, may) {
                    *killed_shims.entry(job_of(&shim).unwrap_or_default()).or_default() += 1;
                    story.shims += 1;
                }
            }
            _ => {
                let noticed = preempt_one(client, &mut random);
                story.preemptions += noticed;
                if noticed > 0 && random.below(2) == 0 {
                    be_away_for_a_notice(server, &mut random, &mut story);
                }
            }
        }
        looks = if story.kills() == before { looks + 1 } else { 0 };
        assert!(looks < LOOKS_MAX, "nothing to kill any more after {story:?}: has the sweep stopped?");
    }
    // The last trials still wait for their gate, so there are nodes with attempts on them.
    if story.unwitnessed == 0 {
        let look = || Some(preempt_one(client, &mut random)).filter(|noticed| *noticed > 0).ok_or("no node to preempt");
        story.preemptions += await_that(NODE_PATIENCE, look);
        be_away_for_a_notice(server, &mut random, &mut story);
    }
    story
}

/// Kills the server, sometimes once more while it starts, and starts it; how many times it was killed.
fn kill_the_server(server: &Mutex<Server>, random: &mut Random) -> u64 {
    let mut server = server.lock().expect("nobody panics while holding the server");
    server.kill();
    // Sometimes it stays away for a while: agents and shims must live through that.
    std::thread::sleep(Duration::from_millis(random.below(2) * random.below(AWAY_MS)));
    let in_its_start = random.below(3) == 0;
    if in_its_start {
        server.begin();
        // Anywhere in its start.
        std::thread::sleep(Duration::from_millis(random.below(START_MS)));
    }
    // A server that still starts is killed by this.
    server.restart();
    1 + u64::from(in_its_start)
}

/// Kills the server while a node has its notice, and starts it once the node's time is over.
fn be_away_for_a_notice(server: &Mutex<Server>, random: &mut Random, story: &mut Story) {
    let mut server = server.lock().expect("nobody panics while holding the server");
    server.kill();
    // The node's time is over by the clock alone while nobody is there to see it.
    std::thread::sleep(Duration::from_millis(NOTICE_SECONDS * 1_000 + random.below(AWAY_MS)));
    server.restart();
    story.servers += 1;
    story.unwitnessed += 1;
}

/// The folder of the job whose attempt a shim runs, without the node: a job moves.
fn job_of(shim: &Process) -> Option<PathBuf> {
    Some(PathBuf::from(shim.attempt_folder()?.parent()?.file_name()?))
}

fn kill_one(home: &Home, kind: Kind, random: &mut Random, may: impl Fn(&Process) -> bool) -> Option<Process> {
    let living: Vec<_> = processes_of(home.path()).into_iter().filter(|one| one.kind == kind && may(one)).collect();
    let victim = random.pick(&living)?;
    victim.kill();
    Some(victim.clone())
}

fn preempt_one(client: &Client, random: &mut Random) -> u64 {
    let nodes = client.get(&format!("clusters/{CLUSTER}/nodes")).expect(200);
    let up = |node: &&Value| node["node_state"] == "idle" || node["node_state"] == "running";
    let nodes: Vec<_> = nodes["nodes"].as_array().into_iter().flatten().filter(up).collect();
    let Some(id) = random.pick(&nodes).and_then(|node| node["node_id"].as_str()) else { return 0 };
    let answer = client.post(&format!("clusters/{CLUSTER}/nodes/{id}:preempt"), &json!({"reason": "torture"}));
    // Between the list and the request the node may have gone by itself.
    assert!([200, 202, 404, 409].contains(&answer.status), "preempting {id}: {}", answer.text());
    u64::from(answer.status < 300)
}
