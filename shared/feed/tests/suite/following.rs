//! What every follower promises: each fact's effect once, in order per stream, whatever the carrier does and whenever
//! the follower or its process ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use trialog_feed::ReactError;
use trialog_feed::source::Cursor;

use crate::carriers;
use crate::faulty::{Faults, Faulty};
use crate::world::{Following, Listener, Noted, Said, Talk, Trouble, noted, open, until, until_noted};

/// Says numbers in some streams; answers what is to be noted.
async fn talk(talk: &Talk, numbers: std::ops::Range<u32>, wanted: &mut Noted) {
    for number in numbers {
        let (stream, public) = (format!("lab/{}", number % 5), number % 4 != 0);
        let text = if number % 3 == 0 { format!("later {number}") } else { number.to_string() };
        talk.append(&stream, vec![Said { text: text.clone(), public }]).await;
        if public {
            wanted.entry(stream).or_default().push(text);
        }
    }
}

async fn comes_to(listener: &Arc<Listener>, wanted: &Noted) {
    let count = |noted: &Noted| noted.values().map(Vec::len).sum::<usize>();
    until_noted("everything is noted", &listener.log, |noted| count(noted) >= count(wanted)).await;
    assert_eq!(&noted(&listener.log).await, wanted);
}

#[tokio::test]
async fn effects_come_once_in_order_through_cuts_resends_and_restarts_at_every_point() {
    for (name, carrier) in carriers() {
        let folder = tempfile::tempdir().unwrap();
        let (log, ear) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await);
        let listener = Listener::new(&ear);
        let mut wanted = Noted::new();
        for (round, faults) in [
            Faults::default(),
            Faults { cut_after: 1, ..Faults::default() },
            Faults { cut_after: 7, resend: 3, ..Faults::default() },
            Faults { resend: 20, ..Faults::default() },
        ]
        .into_iter()
        .cycle()
        .take(12)
        .enumerate()
        {
            let source = Faulty::new(carrier(&log), faults);
            let following = Following::begin(&listener, source);
            let from = round as u32 * 30;
            talk(&log, from..from + 30, &mut wanted).await;
            // Every other round ends wherever it happens to be.
            if round % 2 == 0 {
                comes_to(&listener, &wanted).await;
                following.stop().await;
            } else {
                following.kill().await;
            }
        }
        let following = Following::begin(&listener, carrier(&log));
        comes_to(&listener, &wanted).await;
        let reached = async || ear.cursors("listen").await.unwrap().iter().all(|cursor| cursor.position == 360);
        until("all is stored", reached).await;
        following.stop().await;
        let cursors = ear.cursors("listen").await.unwrap();
        assert!(cursors.iter().all(|cursor| cursor.source == log.log.source()), "{name}: {cursors:?}");
        let opened = carrier(&log).open(&Cursor::default()).await.unwrap();
        assert_eq!(cursors.len(), opened.from.len(), "{name}: one for each partition");
        assert_eq!(noted(&ear).await, wanted, "{name}");
    }
}

#[tokio::test]
async fn a_hole_in_a_stream_is_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let (log, ear) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await);
    let listener = Listener::new(&ear);
    // Loses every fourth fact: a second one of a stream that has lost its first shows it.
    let source = Faulty::new(Arc::new(log.source.clone()), Faults { lose: 4, ..Faults::default() });
    let following = Following::begin(&listener, Arc::clone(&source) as _);
    for number in 0..20 {
        log.say("lab/a", &number.to_string()).await;
    }
    until("it begins again at the hole", async || source.opened.load(Ordering::SeqCst) > 3).await;
    let heard = noted(&ear).await.remove("lab/a").unwrap_or_default();
    let whole: Vec<_> = (0..heard.len()).map(|number| number.to_string()).collect();
    assert_eq!(heard, whole, "what was noted has no hole");
    following.stop().await;
}

#[tokio::test]
async fn a_lane_that_has_to_wait_holds_up_neither_others_nor_its_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let (log, ear) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await);
    let listener = Listener::new(&ear);
    let waits = ReactError::Transient("as it should".to_owned());
    listener.trouble("stuck", Trouble::Fails(waits, u32::MAX));
    log.say("lab/slow", "stuck").await;
    log.say("lab/slow", "behind").await;
    let mut wanted = Noted::new();
    let following = Following::begin(&listener, Arc::new(log.source.clone()));
    // More than one chunk, and more than one look at the log.
    for number in 0..600 {
        log.say("lab/quick", &number.to_string()).await;
        wanted.entry("lab/quick".to_owned()).or_default().push(number.to_string());
    }
    comes_to(&listener, &wanted).await;
    following.kill().await;
    // What is stored stays before the lane that waits: nothing of it is lost with the process.
    let stored = ear.cursors("listen").await.unwrap();
    assert!(stored.iter().all(|cursor| cursor.position == 0), "{stored:?}");
    listener.heal("stuck");
    let following = Following::begin(&listener, Arc::new(log.source.clone()));
    wanted.insert("lab/slow".to_owned(), vec!["stuck".to_owned(), "behind".to_owned()]);
    comes_to(&listener, &wanted).await;
    // What had been handled before is seen again, which changes nothing.
    until("all is stored", async || ear.cursors("listen").await.unwrap()[0].position == 602).await;
    following.stop().await;
    assert_eq!(noted(&ear).await, wanted);
}

#[tokio::test]
async fn what_a_newer_service_says_is_passed_over_and_the_lane_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (log, ear) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await);
    let listener = Listener::new(&ear);
    listener.trouble("newer", Trouble::Fails(ReactError::Unknown("a phase of tomorrow".to_owned()), u32::MAX));
    let following = Following::begin(&listener, Arc::new(log.source.clone()));
    for text in ["before", "newer", "after"] {
        log.say("lab/a", text).await;
    }
    let wanted = Noted::from([("lab/a".to_owned(), vec!["before".to_owned(), "after".to_owned()])]);
    comes_to(&listener, &wanted).await;
    until("all is stored", async || ear.cursors("listen").await.unwrap()[0].position == 3).await;
    following.stop().await;
}

#[tokio::test]
async fn a_source_that_opens_and_breaks_off_again_and_again_is_no_sign_of_health() {
    let folder = tempfile::tempdir().unwrap();
    let (log, ear) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await);
    let listener = Listener::new(&ear);
    log.say("lab/a", "one").await;
    let source = Faulty::new(Arc::new(log.source.clone()), Faults { breaks: true, ..Faults::default() });
    let following = Following::begin(&listener, source);
    until("it is not ready", async || following.health.unwell("ear").len() == 1).await;
    following.stop().await;
    let following = Following::begin(&listener, Arc::new(log.source.clone()));
    until_noted("it is heard", &ear, |noted| noted.contains_key("lab/a")).await;
    assert!(following.health.unwell("ear").is_empty());
    following.stop().await;
}
