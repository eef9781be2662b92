//! How fast jobs go through, with an agent that does nothing. Loose bounds: a debug build on a busy machine; the
//! numbers are printed.

use std::collections::BTreeSet;
use std::time::Duration;

use contracts::compute::agent_order::Order;
use contracts::compute::agent_report::Report;
use contracts::compute::{AttemptEnded, JobEnd};
use runtime::Stopwatch;

use super::harness::{Running, run_id, spec};

const WARM: &str = "vm_size: D8\nscale: {min_nodes: 1, max_nodes: 1}\nprovider: {boot_seconds: 0}";

#[tokio::test(flavor = "multi_thread")]
async fn jobs_reach_a_warm_node_at_once_and_by_the_dozen() {
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path(), None).await;
    running.put("warm", WARM).await.unwrap();
    let order = running.next_node().await;
    let mut agent = running.agent(&order, Vec::new()).await;
    let mut delays = Vec::new();
    for number in 1..=30 {
        let sent = Stopwatch::start();
        running.runs.create(&run_id(number), spec("warm"));
        let start = agent.next_start().await;
        delays.push(sent.elapsed());
        agent.end(&start.job_id, 1, "completed").await;
    }
    delays.sort();
    let jobs = 400u128;
    let sent = Stopwatch::start();
    for number in 1..=jobs {
        running.runs.create(&run_id(1000 + number), spec("warm"));
    }
    let mut done = 0;
    while done < jobs {
        match agent.next().await {
            Order::Start(start) => {
                for phase in ["starting", "running"] {
                    agent.phase(&start.job_id, 1, phase).await;
                }
                let end = Some(JobEnd { outcome: "completed".into(), ..JobEnd::default() });
                agent.say(Report::Ended(AttemptEnded { job_id: start.job_id, attempt: 1, end })).await;
            }
            Order::Acknowledged(_) => done += 1,
            _ => {}
        }
    }
    let rate = jobs as f64 / sent.elapsed().as_secs_f64();
    println!("fact to order: p50 {:?}, worst {:?}; {rate:.0} jobs/s on one node of 8", delays[15], delays[29]);
    let most = most_at_once(&running.engine.commands.log).await;
    assert!((1..=8).contains(&most), "{most} jobs at once on 8 CPUs");
    assert!(rate > 20.0 && delays[15] < Duration::from_millis(500));
}

/// In the order of the log: what an agent hears of an end and of the next start comes by different ways.
async fn most_at_once(log: &eventlog::EventLog) -> usize {
    let (mut after, mut placed, mut most) = (0, BTreeSet::new(), 0);
    loop {
        let page = log.read(after, 1000).await.unwrap();
        let Some(last) = page.last() else { return most };
        after = last.position;
        for event in &page {
            match event.kind.as_str() {
                "JobPlaced" => drop(placed.insert(event.stream.clone())),
                "JobEnded" => drop(placed.remove(&event.stream)),
                _ => {}
            }
            most = most.max(placed.len());
        }
    }
}
