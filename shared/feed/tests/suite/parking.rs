//! A fact that cannot be handled parks its lane and nobody else's, until somebody settles it.

use std::sync::Arc;

use contracts::feed as wire;
use contracts::feed::consumer_service_server::ConsumerService;
use eventlog::{EventLog, sql};
use tonic::{Code, Request};
use trialog_feed::ReactError;
use trialog_feed::consumer::Desk;

use crate::faulty::{Faults, Faulty};
use crate::world::{
    Following, Listener, Noted, Talk, Trouble, UNDECIDABLE, UNREADABLE, noted, open, until, until_noted,
};

const CONSUMER: &str = "ear.listen";

struct Desked {
    talk: Talk,
    ear: EventLog,
    listener: Arc<Listener>,
    following: Option<Following>,
    _folder: tempfile::TempDir,
}

impl Desked {
    async fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (talk, ear) = (Talk::open(folder.path()).await, open(folder.path(), "ear").await);
        let listener = Listener::new(&ear);
        let mut desked = Self { talk, ear, listener, following: None, _folder: folder };
        desked.follow();
        desked
    }

    fn follow(&mut self) {
        // Each fact comes a second time, which must change nothing either.
        let source = Faulty::new(Arc::new(self.talk.source.clone()), Faults { resend: 1, ..Faults::default() });
        self.following = Some(Following::begin(&self.listener, source));
    }

    async fn standing(&self) -> wire::Consumer {
        let request = wire::ListConsumersRequest { service: "ear".to_owned() };
        self.desk().list_consumers(Request::new(request)).await.unwrap().into_inner().consumers.remove(0)
    }

    async fn restart(&mut self) {
        if let Some(following) = self.following.take() {
            following.kill().await;
        }
        self.follow();
    }

    fn desk(&self) -> Desk {
        Desk::new(self.following.as_ref().unwrap().consumers.clone())
    }

    async fn parked(&self) -> Vec<wire::ParkedFact> {
        let request = wire::ListParkedRequest { service: "ear".to_owned(), ..Default::default() };
        self.desk().list_parked(Request::new(request)).await.unwrap().into_inner().parked
    }

    fn settle(&self, position: i64) -> Request<wire::SettleRequest> {
        let mut request = Request::new(wire::SettleRequest {
            service: "ear".to_owned(),
            consumer: CONSUMER.to_owned(),
            source: self.talk.log.source().to_owned(),
            partition: 0,
            position,
        });
        let context = contracts::CallContext { actor: "user:ada".to_owned(), ..Default::default() };
        *request.metadata_mut() = context.attach(()).metadata().clone();
        request
    }

    async fn retry(&self, position: i64) -> wire::SettleReply {
        self.desk().retry_parked(self.settle(position)).await.unwrap().into_inner()
    }

    async fn hears(&self, stream: &str, texts: &[&str]) {
        let heard = |noted: &Noted| noted.get(stream).is_some_and(|heard| heard.len() >= texts.len());
        until_noted("it is heard", &self.ear, heard).await;
        assert_eq!(noted(&self.ear).await[stream], texts);
    }

    async fn has_parked(&self, count: usize) {
        until("it is parked", async || self.parked().await.len() == count).await;
    }

    /// What is bad in lab/a parks that lane, with what comes behind it, and no other; what is parked then.
    async fn parks_its_lane(&self, bad: i64) -> Vec<wire::ParkedFact> {
        self.talk.say("lab/a", "behind").await;
        self.talk.say("lab/b", "fine").await;
        self.hears("lab/b", &["fine"]).await;
        self.has_parked(2).await;
        let parked = self.parked().await;
        let position = parked[0].fact.as_ref().unwrap().position;
        assert_eq!((position, parked[0].lane.as_str(), parked[0].cause.as_str()), (bad, "lab/a", "poison"));
        parked
    }

    /// Who did what to which position.
    async fn actions(&self) -> Vec<(String, String, i64)> {
        let get = "SELECT actor, action, position FROM feed_actions ORDER BY at, position";
        sql(get).fetch_all(self.ear.reader()).await.unwrap()
    }
}

fn poison() -> Trouble {
    Trouble::Fails(ReactError::Poison("as it should".to_owned()), u32::MAX)
}

#[tokio::test]
async fn poison_parks_its_lane_with_what_comes_behind_it_and_a_retry_frees_it_in_order() {
    let mut desked = Desked::begin().await;
    desked.listener.trouble("bad", poison());
    let bad = desked.talk.say("lab/a", "bad").await;
    let parked = desked.parks_its_lane(bad).await;
    let fact = parked[0].fact.clone().unwrap();
    assert_eq!((crate::world::text(&fact).as_str(), parked[0].error.as_str()), ("bad", "as it should"));
    assert_eq!((parked[1].cause.as_str(), parked[1].error.as_str()), ("", ""), "it only waits behind the first");
    // Also over a restart, and what comes then.
    desked.restart().await;
    desked.talk.say("lab/a", "last").await;
    desked.talk.say("lab/b", "fine too").await;
    desked.hears("lab/b", &["fine", "fine too"]).await;
    desked.has_parked(3).await;
    assert!(!noted(&desked.ear).await.contains_key("lab/a"));
    let still = desked.retry(bad).await;
    assert_eq!((still.outcome.as_str(), still.error.as_str(), still.left), ("parked", "as it should", 3));
    desked.listener.heal("bad");
    assert_eq!(desked.retry(bad).await.outcome, "done");
    desked.hears("lab/a", &["bad", "behind", "last"]).await;
    desked.has_parked(0).await;
    desked.talk.say("lab/a", "free").await;
    desked.hears("lab/a", &["bad", "behind", "last", "free"]).await;
    let actions = desked.actions().await;
    assert!(actions.contains(&("user:ada".to_owned(), "retry".to_owned(), bad)), "{actions:?}");
}

#[tokio::test]
async fn what_its_own_service_cannot_read_is_parked_in_its_lane_until_a_build_can() {
    // All followers would stand still, and with them all that every tenant does.
    let mut desked = Desked::begin().await;
    let bad = desked.talk.say("lab/a", UNREADABLE).await;
    let parked = desked.parks_its_lane(bad).await;
    let fact = parked[0].fact.clone().unwrap();
    assert!(parked[0].error.contains("it says what nobody knows"), "{}", parked[0].error);
    assert_eq!(fact.r#type, "Unreadable", "whoever looks knows it from a fact's own type");
    let payload = String::from_utf8(fact.payload).unwrap();
    assert!(payload.contains(UNREADABLE), "the event as it is stored: {payload}");
    assert_eq!(desked.standing().await.state, "Following");
    assert_eq!(desked.retry(bad).await.outcome, "parked");
    desked.talk.upgrade();
    desked.restart().await;
    desked.has_parked(2).await;
    assert_eq!(desked.retry(bad).await.outcome, "done");
    desked.hears("lab/a", &[UNREADABLE, "behind"]).await;
    desked.has_parked(0).await;
}

#[tokio::test]
async fn a_skipped_fact_is_given_up_for_ever_and_by_whom_is_kept() {
    let mut desked = Desked::begin().await;
    desked.listener.trouble("bad", poison());
    // The lane beside it waits, so that the cursor stays before the bad fact.
    desked.listener.trouble("stuck", Trouble::Fails(ReactError::Transient("as it should".to_owned()), u32::MAX));
    desked.talk.say("lab/slow", "stuck").await;
    let bad = desked.talk.say("lab/a", "bad").await;
    desked.talk.say("lab/a", "behind").await;
    desked.has_parked(2).await;
    let skipped = desked.desk().skip_parked(desked.settle(bad)).await.unwrap().into_inner();
    assert_eq!(skipped.outcome, "skipped");
    desked.hears("lab/a", &["behind"]).await;
    desked.has_parked(0).await;
    assert!(desked.actions().await.contains(&("user:ada".to_owned(), "skip".to_owned(), bad)));
    // It comes again after a crash, since the cursor is before it: it stays given up, though it would go through now.
    desked.restart().await;
    desked.listener.heal("bad");
    desked.listener.heal("stuck");
    desked.hears("lab/slow", &["stuck"]).await;
    desked.talk.say("lab/a", "new").await;
    desked.hears("lab/a", &["behind", "new"]).await;
    let again = desked.desk().skip_parked(desked.settle(bad)).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
}

#[tokio::test]
async fn a_panic_is_poison_after_a_few_tries_and_nothing_before() {
    let desked = Desked::begin().await;
    desked.listener.trouble("shaky", Trouble::Panics(2));
    desked.listener.trouble("broken", Trouble::Panics(u32::MAX));
    desked.talk.say("lab/a", "shaky").await;
    desked.talk.say("lab/b", "broken").await;
    desked.hears("lab/a", &["shaky"]).await;
    desked.has_parked(1).await;
    let parked = desked.parked().await;
    assert_eq!((parked[0].lane.as_str(), parked[0].error.as_str()), ("lab/b", "it panicked: as it should"));
}

#[tokio::test]
async fn a_lane_whose_handling_was_cut_off_between_two_facts_goes_on_by_itself() {
    let mut desked = Desked::begin().await;
    desked.listener.trouble("bad", poison());
    let bad = desked.talk.say("lab/a", "bad").await;
    desked.talk.say("lab/a", "behind").await;
    desked.talk.say("lab/a", "last").await;
    desked.has_parked(3).await;
    desked.listener.heal("bad");
    desked.listener.trouble("behind", Trouble::Fails(ReactError::Transient("as it should".to_owned()), u32::MAX));
    assert_eq!(desked.retry(bad).await.outcome, "done");
    desked.has_parked(2).await;
    desked.restart().await;
    desked.listener.heal("behind");
    desked.hears("lab/a", &["bad", "behind", "last"]).await;
    desked.has_parked(0).await;
}

#[tokio::test]
async fn a_poisoned_lane_is_not_tried_by_itself_after_a_restart() {
    let mut desked = Desked::begin().await;
    desked.listener.trouble("bad", poison());
    desked.talk.say("lab/a", "bad").await;
    desked.talk.say("lab/a", "behind").await;
    desked.has_parked(2).await;
    desked.listener.heal("bad");
    desked.restart().await;
    // Lanes that wait are looked at as soon as a session begins; this one is later than that.
    desked.listener.trouble("shaky", Trouble::Fails(ReactError::Transient("as it should".to_owned()), 5));
    desked.talk.say("lab/b", "shaky").await;
    desked.hears("lab/b", &["shaky"]).await;
    assert!(!noted(&desked.ear).await.contains_key("lab/a"), "it is for a person to settle");
    assert_eq!(desked.parked().await.len(), 2);
}

#[tokio::test]
async fn beyond_the_limit_nothing_is_taken_in_until_somebody_settles_enough() {
    let mut desked = Desked::begin().await;
    desked.following.take().unwrap().stop().await;
    let source = Arc::new(desked.talk.source.clone());
    desked.following = Some(Following::begin_with(&desked.listener, source, |follower| follower.with_parked_max(1)));
    desked.listener.trouble("bad", poison());
    desked.listener.trouble("worse", poison());
    let bad = desked.talk.say("lab/a", "bad").await;
    let worse = desked.talk.say("lab/b", "worse").await;
    until("it halts", async || desked.standing().await.state == "Halted").await;
    let reason = desked.standing().await.reason;
    assert!(reason.contains("2 facts are parked") && reason.contains("trialog feed"), "{reason}");
    assert_eq!(desked.following.as_ref().unwrap().health.unwell("ear").len(), 1, "its process is not ready");
    let new = desked.talk.say("lab/c", "new").await;
    // Answered, though it halts; by then the new fact would have been heard.
    assert_eq!(desked.retry(worse).await.outcome, "parked");
    assert!(!noted(&desked.ear).await.contains_key("lab/c"), "{new} was taken in");
    let skipped = desked.desk().skip_parked(desked.settle(bad)).await.unwrap().into_inner();
    assert_eq!((skipped.outcome.as_str(), skipped.left), ("skipped", 1));
    desked.hears("lab/c", &["new"]).await;
    assert_eq!(desked.standing().await.state, "Following");
    assert!(desked.following.as_ref().unwrap().health.unwell("ear").is_empty());
}

#[tokio::test]
async fn what_the_own_log_can_never_decide_is_parked_and_holds_up_nobody() {
    let desked = Desked::begin().await;
    let bad = desked.talk.say("lab/a", UNDECIDABLE).await;
    let last = desked.talk.say("lab/b", "fine").await;
    desked.hears("lab/b", &["fine"]).await;
    desked.has_parked(1).await;
    let parked = desked.parked().await.remove(0);
    assert_eq!((parked.fact.unwrap().position, parked.cause.as_str()), (bad, "poison"), "{}", parked.error);
    let is_past = async || desked.ear.cursors("listen").await.unwrap().iter().any(|cursor| cursor.position == last);
    until("the cursor is past it", is_past).await;
}

#[tokio::test]
async fn what_waits_too_long_is_parked_and_goes_on_by_itself() {
    let desked = Desked::begin().await;
    desked.listener.trouble("early", Trouble::Fails(ReactError::Waits("not there".to_owned()), u32::MAX));
    desked.talk.say("lab/a", "early").await;
    desked.talk.say("lab/a", "behind").await;
    desked.has_parked(2).await;
    assert_eq!(desked.parked().await[0].cause, "waiting");
    desked.listener.heal("early");
    desked.hears("lab/a", &["early", "behind"]).await;
    desked.has_parked(0).await;
}

#[tokio::test]
async fn a_lane_that_does_not_go_through_for_now_takes_no_room_from_the_others() {
    // What is down for one lane alone, for however long, must not hold up the facts of the others behind it.
    let mut desked = Desked::begin().await;
    desked.listener.trouble("first", Trouble::Fails(ReactError::Transient("as it should".to_owned()), u32::MAX));
    let mut texts = vec!["first".to_owned()];
    texts.extend((0..600).map(|number| format!("later {number}")));
    for text in &texts {
        desked.talk.say("lab/a", text).await;
    }
    desked.talk.say("lab/b", "fine").await;
    desked.hears("lab/b", &["fine"]).await;
    assert!(!noted(&desked.ear).await.contains_key("lab/a"), "its first comes first");
    until("it is parked", async || !desked.parked().await.is_empty()).await;
    let parked = desked.parked().await;
    assert_eq!((parked[0].cause.as_str(), parked[0].error.as_str()), ("waiting", "as it should"));
    // In order after a restart too, and by itself as soon as it can.
    desked.restart().await;
    desked.talk.say("lab/b", "fine too").await;
    desked.hears("lab/b", &["fine", "fine too"]).await;
    desked.listener.heal("first");
    let goes_on = |noted: &Noted| noted.get("lab/a").is_some_and(|heard| heard.len() >= 40);
    until_noted("it goes on", &desked.ear, goes_on).await;
    let heard = noted(&desked.ear).await.remove("lab/a").unwrap();
    assert_eq!(heard, texts[..heard.len()]);
}
