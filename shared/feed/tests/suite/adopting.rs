//! Whose facts are followed: cursors count in an incarnation, and another one is not followed unasked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use contracts::feed as wire;
use contracts::feed::consumer_service_server::ConsumerService;
use eventlog::{EventLog, Store};
use futures_util::future::BoxFuture;
use tonic::Request;
use trialog_feed::consumer::Desk;
use trialog_feed::source::{Cursor, FactSource, OpenError, Opened};

use crate::carriers;
use crate::world::{Following, Listener, Said, Talk, noted, open, until, until_noted};

async fn heard(ear: &EventLog) -> Vec<String> {
    noted(ear).await.remove("lab/a").unwrap_or_default()
}

async fn hears(ear: &EventLog, texts: &[&str]) {
    until_noted("it is heard", ear, |noted| noted.get("lab/a").map_or(0, Vec::len) >= texts.len()).await;
    assert_eq!(heard(ear).await, texts);
}

/// Whether all partitions are stored at a position.
async fn all_at(ear: &EventLog, position: i64) -> bool {
    let cursors = ear.cursors("listen").await.unwrap();
    !cursors.is_empty() && cursors.iter().all(|cursor| cursor.position == position)
}

async fn standing(following: &Following) -> wire::Consumer {
    let request = wire::ListConsumersRequest { service: "ear".to_owned() };
    let reply = Desk::new(following.consumers.clone()).list_consumers(Request::new(request)).await.unwrap();
    reply.into_inner().consumers.remove(0)
}

async fn adopt(following: &Following, source: &str, from: i64) {
    let request = wire::AdoptRequest { service: "ear".to_owned(), source: source.to_owned(), from };
    let reply = Desk::new(following.consumers.clone()).adopt_source(Request::new(request)).await.unwrap();
    assert_eq!(reply.into_inner().consumers.len(), 1);
}

#[tokio::test]
async fn a_cursor_under_the_bare_name_counts_in_what_is_met_first() {
    for (name, carrier) in carriers() {
        let folder = tempfile::tempdir().unwrap();
        let (talk, ear) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await);
        for text in ["one", "two", "three"] {
            talk.say("lab/a", text).await;
        }
        // As builds before this one left it.
        ear.move_cursor("listen", "talk", 2).await.unwrap();
        let listener = Listener::new(&ear);
        let following = Following::begin(&listener, carrier(&talk));
        hears(&ear, &["three"]).await;
        let stored = async || all_at(&ear, 3).await;
        until("it is stored", stored).await;
        following.stop().await;
        let cursors = ear.cursors("listen").await.unwrap();
        let is_own = cursors.iter().all(|cursor| cursor.source == talk.log.source());
        assert!(is_own, "{name}: what it took over is gone: {cursors:?}");
    }
}

#[tokio::test]
async fn a_log_made_anew_is_not_followed_before_it_is_adopted() {
    for (name, carrier) in carriers() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ear = open(first.path(), "ear").await;
        let listener = Listener::new(&ear);
        let talk = Talk::open(first.path()).await;
        talk.say("lab/a", "old").await;
        let following = Following::begin(&listener, carrier(&talk));
        hears(&ear, &["old"]).await;
        following.stop().await;
        // Another log of the same service, longer than the first: by number alone its facts would be new.
        let anew = Talk::open(second.path()).await;
        for text in ["unseen", "new"] {
            anew.say("lab/a", text).await;
        }
        let following = Following::begin(&listener, carrier(&anew));
        until("it halts", async || standing(&following).await.state == "Halted").await;
        let reason = standing(&following).await.reason;
        let command = format!("trialog feed adopt {}", anew.log.source());
        assert!(reason.contains(&command) && reason.contains(talk.log.source()), "{name}: {reason}");
        let unwell = following.health.unwell("ear");
        assert_eq!((unwell.len(), unwell[0].part.as_str()), (1, "listen"), "{name}: its process is not ready");
        assert_eq!(heard(&ear).await, ["old"], "{name}: nothing of it is taken for what was meant");
        adopt(&following, anew.log.source(), 0).await;
        hears(&ear, &["old", "unseen", "new"]).await;
        assert_eq!(standing(&following).await.state, "Following");
        assert!(following.health.unwell("ear").is_empty());
        following.stop().await;
        // What was adopted is what is known now, over a restart.
        let following = Following::begin(&listener, carrier(&anew));
        anew.say("lab/a", "newer").await;
        hears(&ear, &["old", "unseen", "new", "newer"]).await;
        following.stop().await;
    }
}

#[tokio::test]
async fn a_log_that_was_set_back_is_not_skipped_over() {
    for (name, carrier) in carriers() {
        let folder = tempfile::tempdir().unwrap();
        let (talk, ear) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await);
        talk.say("lab/a", "one").await;
        ear.move_cursor("listen", talk.log.source(), 5).await.unwrap();
        let listener = Listener::new(&ear);
        let following = Following::begin(&listener, carrier(&talk));
        until("it halts", async || standing(&following).await.state == "Halted").await;
        let reason = standing(&following).await.reason;
        assert!(reason.contains("set back") && reason.contains("--accept-database talk"), "{name}: {reason}");
        adopt(&following, talk.log.source(), 1).await;
        talk.say("lab/a", "two").await;
        hears(&ear, &["two"]).await;
        following.stop().await;
    }
}

#[tokio::test]
async fn a_log_that_was_set_back_and_has_grown_again_is_not_taken_for_the_same() {
    // Its new events at old positions would be passed over, and everything would look well.
    for (name, carrier) in carriers() {
        let folder = tempfile::tempdir().unwrap();
        let (file, copy) = (folder.path().join("talk.sqlite"), folder.path().join("copy"));
        let ear = open(folder.path(), "ear").await;
        let talk = Talk::open(folder.path()).await;
        talk.say("lab/a", "one").await;
        talk.log.close().await;
        std::fs::copy(&file, &copy).unwrap();
        let talk = Talk::open(folder.path()).await;
        // The last one stays private: what is seen of it is where it stands.
        talk.say("lab/a", "two").await;
        talk.append("lab/a", vec![Said { text: "whispered".to_owned(), public: false }]).await;
        let listener = Listener::new(&ear);
        let following = Following::begin(&listener, carrier(&talk));
        let stored = async || all_at(&ear, 3).await;
        until("it is stored", stored).await;
        following.stop().await;
        talk.log.close().await;
        std::fs::copy(&copy, &file).unwrap();
        let talk = Talk::open(folder.path()).await;
        for text in ["other two", "other three", "other four"] {
            talk.say("lab/a", text).await;
        }
        let following = Following::begin(&listener, carrier(&talk));
        until("it halts", async || standing(&following).await.state == "Halted").await;
        let reason = standing(&following).await.reason;
        assert!(reason.contains("another event") && reason.contains("--accept-database talk"), "{name}: {reason}");
        following.stop().await;
        // As that option makes it: another incarnation, which is followed from where it was set back to.
        talk.log.close().await;
        Store::sqlite(&file).renew(77).await.unwrap();
        let talk = Talk::open(folder.path()).await;
        let following = Following::begin(&listener, carrier(&talk));
        until("it halts", async || standing(&following).await.state == "Halted").await;
        adopt(&following, talk.log.source(), 1).await;
        hears(&ear, &["one", "two", "other two", "other three", "other four"]).await;
        following.stop().await;
    }
}

#[tokio::test]
async fn several_incarnations_are_for_a_person_to_choose_from() {
    let folder = tempfile::tempdir().unwrap();
    let (talk, ear) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await);
    talk.say("lab/a", "one").await;
    ear.move_cursor("listen", "talk@1", 1).await.unwrap();
    ear.move_cursor("listen", "talk@2", 1).await.unwrap();
    let listener = Listener::new(&ear);
    let following = Following::begin(&listener, Arc::new(talk.source.clone()));
    until("it halts", async || standing(&following).await.state == "Halted").await;
    let reason = standing(&following).await.reason;
    assert!(reason.contains("talk@1, talk@2") && reason.contains("trialog feed adopt"), "{reason}");
    adopt(&following, talk.log.source(), 0).await;
    hears(&ear, &["one"]).await;
    following.stop().await;
}

#[tokio::test]
async fn only_what_the_source_is_at_is_adopted() {
    // A slip of the pen in an incarnation or a position would skip facts silently, or halt again.
    for (name, carrier) in carriers() {
        let folder = tempfile::tempdir().unwrap();
        let (talk, ear) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await);
        for text in ["one", "two"] {
            talk.say("lab/a", text).await;
        }
        ear.move_cursor("listen", "talk@old", 7).await.unwrap();
        let listener = Listener::new(&ear);
        let following = Following::begin(&listener, carrier(&talk));
        until("it halts", async || standing(&following).await.state == "Halted").await;
        let refused = async |source: &str, from: i64| {
            let request = wire::AdoptRequest { service: "ear".to_owned(), source: source.to_owned(), from };
            let desk = Desk::new(following.consumers.clone());
            contracts::problem_of(&desk.adopt_source(Request::new(request)).await.unwrap_err())
        };
        let is = talk.log.source();
        let other = refused("talk@9", 1).await;
        assert_eq!((other.status, other.code.as_str()), (412, "OtherIncarnation"), "{name}: {other}");
        assert!(other.detail.contains(&format!("trialog feed adopt {is}")), "{name}: {other}");
        let beyond = refused(is, 3).await;
        assert_eq!((beyond.status, beyond.code.as_str()), (412, "BeyondHead"), "{name}: {beyond}");
        assert!(beyond.detail.contains("0..=2"), "{name}: {beyond}");
        let kept: Vec<_> = ear.cursors("listen").await.unwrap().into_iter().map(|c| (c.source, c.position)).collect();
        assert_eq!(kept, [("talk@old".to_owned(), 7)], "{name}: nothing is changed");
        adopt(&following, is, 1).await;
        hears(&ear, &["two"]).await;
        following.stop().await;
    }
}

/// A source that is away when it is to be.
struct Away {
    inner: Arc<dyn FactSource>,
    is_away: AtomicBool,
}

impl FactSource for Away {
    fn open<'a>(&'a self, cursor: &'a Cursor) -> BoxFuture<'a, Result<Opened, OpenError>> {
        if self.is_away.load(Ordering::SeqCst) {
            return Box::pin(std::future::ready(Err(OpenError::Away("its host is down".to_owned()))));
        }
        self.inner.open(cursor)
    }
}

#[tokio::test]
async fn nothing_is_adopted_nor_settled_while_nobody_can_answer() {
    // Whoever looks after it must hear that it was not done, and may try again.
    let folder = tempfile::tempdir().unwrap();
    let (talk, ear) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await);
    talk.say("lab/a", "one").await;
    ear.move_cursor("listen", "talk@old", 7).await.unwrap();
    let listener = Listener::new(&ear);
    let source = Arc::new(Away { inner: Arc::new(talk.source.clone()), is_away: AtomicBool::new(false) });
    let following = Following::begin(&listener, Arc::clone(&source) as _);
    until("it halts", async || standing(&following).await.state == "Halted").await;
    let desk = Desk::new(following.consumers.clone());
    source.is_away.store(true, Ordering::SeqCst);
    let request = || wire::AdoptRequest { service: "ear".to_owned(), source: talk.log.source().to_owned(), from: 0 };
    let away = contracts::problem_of(&desk.adopt_source(Request::new(request())).await.unwrap_err());
    assert_eq!((away.status, away.code.as_str()), (503, "SourceAway"));
    assert!(away.detail.contains("talk cannot be asked") && away.detail.contains("its host is down"), "{away}");
    // One that is halted settles nothing: more than it has room for are refused at once.
    let (consumer, source_name) = ("ear.listen".to_owned(), talk.log.source().to_owned());
    let settle = |position| {
        let (consumer, source) = (consumer.clone(), source_name.clone());
        let request = wire::SettleRequest { service: "ear".to_owned(), consumer, source, partition: 0, position };
        let desk = desk.clone();
        Box::pin(async move { desk.retry_parked(Request::new(request)).await })
    };
    let (first, _, waiting) = futures_util::future::select_all((1..=17).map(settle)).await;
    let busy = contracts::problem_of(&first.unwrap_err());
    assert_eq!((busy.status, busy.code.as_str(), waiting.len()), (503, "FollowerBusy", 16));
    assert!(busy.detail.contains("ear.listen") && busy.retry_after_seconds.is_some(), "{busy}");
    drop(waiting);
    source.is_away.store(false, Ordering::SeqCst);
    adopt(&following, talk.log.source(), 0).await;
    hears(&ear, &["one"]).await;
    following.stop().await;
}

#[tokio::test]
async fn a_consumer_that_follows_adopts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (talk, ear) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await);
    talk.say("lab/a", "one").await;
    let listener = Listener::new(&ear);
    let following = Following::begin(&listener, Arc::new(talk.source.clone()));
    hears(&ear, &["one"]).await;
    let stored = async || ear.cursors("listen").await.unwrap().iter().any(|cursor| cursor.position == 1);
    until("it is stored", stored).await;
    let before = ear.cursors("listen").await.unwrap();
    let request = wire::AdoptRequest { service: "ear".to_owned(), source: "talk@9".to_owned(), from: 0 };
    let desk = Desk::new(following.consumers.clone());
    let problem = contracts::problem_of(&desk.adopt_source(Request::new(request)).await.unwrap_err());
    assert_eq!((problem.status, problem.code.as_str()), (409, "NotHalted"));
    assert!(problem.detail.contains("ear.listen") && problem.detail.contains("halted"), "{}", problem.detail);
    assert_eq!(format!("{:?}", ear.cursors("listen").await.unwrap()), format!("{before:?}"), "nothing is changed");
    talk.say("lab/a", "two").await;
    hears(&ear, &["one", "two"]).await;
    following.stop().await;
}
