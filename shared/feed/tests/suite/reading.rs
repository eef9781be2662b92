//! What every carrier promises to who reads it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::feed::feed_service_client::FeedServiceClient;
use contracts::feed::{Fact, ReadRequest};
use futures_util::StreamExt;
use trialog_feed::FactSource;
use trialog_feed::source::{Cursor, Facts, OpenError, Opened};

use crate::carriers;
use crate::world::{Said, Talk, peer, text};

/// Says 1, 2, … in turn in three streams, every fifth in private; answers the public ones by position.
async fn talk(talk: &Talk, count: i64) -> BTreeMap<i64, (String, String)> {
    let mut said = BTreeMap::new();
    for number in 1..=count {
        let (stream, public) = (format!("lab/{}", number % 3), number % 5 != 0);
        let position = talk.append(&stream, vec![Said { text: number.to_string(), public }]).await;
        if public {
            said.insert(position, (stream, number.to_string()));
        }
    }
    said
}

/// Everything until no partition can have more before a position.
async fn read(source: &dyn FactSource, cursor: &Cursor, until: i64) -> Vec<Arc<Fact>> {
    let Opened { mut facts, from: mut reached, .. } = source.open(cursor).await.unwrap();
    let mut all = Vec::new();
    while reached.values().any(|reached| *reached < until) {
        let fact = next(&mut facts).await;
        let before = reached.insert(fact.partition, fact.position).expect("a partition that was named");
        assert!(before < fact.position, "{before} before {} in partition {}", fact.position, fact.partition);
        all.push(fact);
    }
    all
}

async fn next(facts: &mut Facts) -> Arc<Fact> {
    let next = tokio::time::timeout(Duration::from_secs(20), facts.next()).await.expect("a fact");
    next.expect("it goes on").unwrap()
}

/// The next that says something.
async fn next_fact(facts: &mut Facts) -> Arc<Fact> {
    loop {
        let fact = next(facts).await;
        if !fact.watermark {
            return fact;
        }
    }
}

#[tokio::test]
async fn from_every_position_on_the_facts_come_once_each_in_order_with_their_origin() {
    for (name, carrier) in carriers() {
        let folder = tempfile::tempdir().unwrap();
        let log = Talk::open(folder.path()).await;
        let said = talk(&log, 40).await;
        let source = carrier(&log);
        for from in 0..40 {
            let facts = read(source.as_ref(), &Cursor::at(log.log.source(), from), 40).await;
            let facts: Vec<_> = facts.iter().filter(|fact| !fact.watermark).collect();
            let told: BTreeMap<_, _> =
                facts.iter().map(|fact| (fact.position, (fact.stream.clone(), text(fact)))).collect();
            let wanted: BTreeMap<_, _> =
                said.range(from + 1..).map(|(position, said)| (*position, said.clone())).collect();
            assert_eq!((&told, facts.len()), (&wanted, wanted.len()), "{name} from {from}");
            let mut last: BTreeMap<&str, i64> = BTreeMap::new();
            for fact in &facts {
                let before = last.insert(&fact.stream, fact.position).unwrap_or_default();
                assert!(before < fact.position, "{name}: {} of {} after {before}", fact.position, fact.stream);
            }
        }
        let first = next_fact(&mut source.open(&Cursor::default()).await.unwrap().facts).await;
        assert_eq!((first.request_id.as_str(), first.causation.as_str()), ("req_1", "somebody@1:7"), "{name}");
        assert_eq!(first.source, log.log.source(), "{name}");
    }
}

#[tokio::test]
async fn what_comes_later_is_there_too_and_each_fact_names_the_one_before() {
    for (name, carrier) in carriers() {
        let folder = tempfile::tempdir().unwrap();
        let log = Talk::open(folder.path()).await;
        let opened = carrier(&log).open(&Cursor::default()).await.unwrap();
        assert_eq!(opened.source, log.log.source(), "{name}");
        let mut facts = opened.facts;
        let mut last: BTreeMap<String, i64> = BTreeMap::new();
        for number in 0..200 {
            let position = log.say(&format!("lab/{}", number % 7), &number.to_string()).await;
            let fact = next_fact(&mut facts).await;
            assert_eq!((fact.position, text(&fact)), (position, number.to_string()), "{name}");
            assert_eq!(fact.previous, last.insert(fact.stream.clone(), position).unwrap_or(0), "{name}");
        }
    }
}

#[tokio::test]
async fn a_slow_reader_misses_nothing_and_holds_nobody_up() {
    for (name, carrier) in carriers() {
        let folder = tempfile::tempdir().unwrap();
        let log = Talk::open(folder.path()).await;
        let mut slow = carrier(&log).open(&Cursor::default()).await.unwrap().facts;
        let first = log.say("lab/a", "first").await;
        assert_eq!(next_fact(&mut slow).await.position, first, "{name}");
        // More than is kept for readers that keep up.
        for batch in 0..60 {
            let said = (0..60).map(|number| Said { text: format!("{batch}-{number}"), public: true }).collect();
            log.append("lab/b", said).await;
        }
        let quick = read(carrier(&log).as_ref(), &Cursor::default(), 3601).await;
        assert_eq!(quick.iter().filter(|fact| !fact.watermark).count(), 3601, "{name}");
        for wanted in 2..=3601 {
            assert_eq!(next_fact(&mut slow).await.position, wanted, "{name}");
        }
    }
}

#[tokio::test]
async fn positions_of_another_log_and_beyond_the_head_are_refused() {
    for (name, carrier) in carriers() {
        let folder = tempfile::tempdir().unwrap();
        let log = Talk::open(folder.path()).await;
        log.say("lab/a", "one").await;
        let source = carrier(&log);
        let met = log.log.source().to_owned();
        let other = source.open(&Cursor::at("talk@other", 0)).await.unwrap_err();
        assert_eq!(other, OpenError::OtherIncarnation { known: "talk@other".into(), met: met.clone() }, "{name}");
        for named in ["", met.as_str()] {
            let beyond = source.open(&Cursor::at(named, 2)).await.unwrap_err();
            assert_eq!(beyond, OpenError::BeyondHead { source_name: met.clone(), from: 2, head: 1 }, "{name}");
        }
        assert!(source.open(&Cursor::at(met, 1)).await.is_ok(), "{name}: the head itself is no refusal");
    }
}

#[tokio::test]
async fn callers_see_what_is_refused_as_a_failed_precondition() {
    let folder = tempfile::tempdir().unwrap();
    let log = Talk::open(folder.path()).await;
    let mut client = FeedServiceClient::new(peer(&log));
    let ask = |from, source: &str| ReadRequest {
        service: "talk".to_owned(),
        from,
        source: source.to_owned(),
        ..ReadRequest::default()
    };
    for request in [ask(1, ""), ask(0, "talk@other")] {
        let status = client.read(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status}");
    }
}

#[tokio::test]
async fn a_reader_gets_what_it_asks_for_and_watermarks_for_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let log = Talk::open(folder.path()).await;
    for number in 0..30 {
        log.say(["lab/a", "lab/b", "other/a"][number % 3], &format!("r{}", number % 5)).await;
    }
    let head = log.log.source().to_owned();
    let mut client = FeedServiceClient::new(peer(&log));
    let mut positions = async |request: ReadRequest| {
        let request = ReadRequest { service: "talk".to_owned(), until_head: true, ..request };
        let mut stream = client.read(request).await.unwrap().into_inner();
        let (mut positions, mut last) = (Vec::new(), 0);
        while let Some(fact) = stream.message().await.unwrap() {
            last = fact.position;
            if !fact.watermark {
                positions.push(fact.position);
            }
        }
        assert_eq!(last, 30, "a reader knows how far nothing of its own is missing");
        positions
    };
    let every = |keep: fn(i64) -> bool| (1..=30).filter(|position| keep(*position)).collect::<Vec<i64>>();
    let lab = ReadRequest { workspace: "lab".to_owned(), ..ReadRequest::default() };
    assert_eq!(positions(lab.clone()).await, every(|position| position % 3 != 0));
    let stream = ReadRequest { stream: "lab/b".to_owned(), ..lab.clone() };
    assert_eq!(positions(stream).await, every(|position| position % 3 == 2));
    let run = ReadRequest { run_id: "r0".to_owned(), ..lab.clone() };
    assert_eq!(positions(run).await, every(|position| position % 5 == 1 && position % 3 != 0));
    let sweep = ReadRequest { sweep_id: "s".to_owned(), ..lab };
    assert!(positions(sweep).await.is_empty());
    assert!(head.starts_with("talk@"));
}

#[tokio::test]
async fn a_reader_may_begin_now_or_with_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let log = Talk::open(folder.path()).await;
    for number in 0..20 {
        log.say("lab/a", &number.to_string()).await;
    }
    let events = log.log.read(0, 100).await.unwrap();
    let mut client = FeedServiceClient::new(peer(&log));
    for event in &events {
        let request = ReadRequest {
            service: "talk".to_owned(),
            since_us: event.recorded_at_us,
            until_head: true,
            ..ReadRequest::default()
        };
        let first = client.read(request).await.unwrap().into_inner().message().await.unwrap().unwrap();
        assert_eq!(first.position, event.position);
    }
    let now = ReadRequest { service: "talk".to_owned(), from_now: true, ..ReadRequest::default() };
    let answer = client.read(now).await.unwrap();
    assert_eq!(answer.metadata().get("trialog-head").unwrap(), "20");
    assert_eq!(answer.metadata().get("trialog-source").unwrap(), log.log.source());
    let mut later = answer.into_inner();
    log.say("lab/a", "new").await;
    assert_eq!(later.message().await.unwrap().unwrap().position, 21);
}

#[tokio::test]
async fn a_reader_that_contradicts_itself_or_the_log_is_told_how() {
    let folder = tempfile::tempdir().unwrap();
    let log = Talk::open(folder.path()).await;
    for number in 0..3 {
        log.say("lab/a", &number.to_string()).await;
    }
    let mut client = FeedServiceClient::new(peer(&log));
    let at = |from| ReadRequest { service: "talk".to_owned(), from, until_head: true, ..ReadRequest::default() };
    let both = ReadRequest { from_now: true, ..at(2) };
    let refused = contracts::problem_of(&client.read(both).await.unwrap_err());
    assert_eq!((refused.status, refused.errors[0].code.as_str()), (422, "Contradiction"));
    assert!(
        refused.errors[0].message.contains("from_now and since_us") && refused.errors[0].message.contains("'from'")
    );
    // What it had read at that position was another event.
    let other = ReadRequest { from_event_id: uuid::Uuid::from_u128(7).to_string(), ..at(2) };
    let refused = contracts::problem_of(&client.read(other).await.unwrap_err());
    assert_eq!((refused.status, refused.code.as_str()), (412, "OtherHistory"));
    assert_eq!(refused.extra["from"], 2);
    assert!(refused.detail.contains(" 2"), "{refused}");
}
