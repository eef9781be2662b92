//! The followers at the door: for administrators, with what a fact says.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use contracts::feed::{
    AdoptReply, AdoptRequest, Consumer, Fact, ListConsumersReply, ListParkedReply, ParkedFact, SettleReply,
    SettleRequest,
};
use contracts::sweeps::SweepStateChanged;
use prost::Message;
use serde_json::{Value, json};

use super::requests::{Door, as_token};

async fn ask(door: &Door, method: Method, path: &str, body: Option<Value>) -> super::requests::Answer {
    let request = as_token(TestRequest::default().method(method).uri(&format!("/api/v1/feed{path}")), "tlg_admin_x");
    door.ask(match body {
        Some(body) => request.set_json(body),
        None => request,
    })
    .await
}

#[actix_web::test]
async fn parked_facts_are_read_and_settled_by_their_follower() {
    let door = Door::open().await;
    let message = SweepStateChanged { state: "Paused".to_owned(), ..Default::default() };
    let fact = Fact {
        source: "sweeps@1".to_owned(),
        position: 7,
        r#type: "SweepStateChanged".to_owned(),
        payload: message.encode_to_vec(),
        ..Fact::default()
    };
    let consumer = "runs.follow_trials".to_owned();
    let parked = ParkedFact { consumer, cause: "poison".to_owned(), fact: Some(fact), ..Default::default() };
    door.fake.answer("list_parked", &ListParkedReply { parked: vec![parked], ..Default::default() });
    let listed = ask(&door, Method::GET, "/parked?consumer=runs.follow_trials", None).await.json();
    assert_eq!(
        (&listed["parked"][0]["data"]["state"], &listed["parked"][0]["position"]),
        (&json!("Paused"), &json!(7))
    );
    door.fake.answer("retry_parked", &SettleReply { outcome: "done".to_owned(), ..Default::default() });
    let body = json!({"consumer": "runs.follow_trials", "source": "sweeps@1", "position": 7});
    let retried = ask(&door, Method::POST, "/parked:retry", Some(body.clone())).await;
    assert_eq!((retried.status.as_u16(), &retried.json()["outcome"]), (200, &json!("done")));
    let seen = &door.fake.calls("retry_parked")[0];
    assert_eq!(seen.message::<SettleRequest>().service, "runs");
    assert!(!seen.context.actor.is_empty(), "who did it goes with it");
    assert_eq!(ask(&door, Method::POST, "/parked:skip", Some(body)).await.status, 200);
    let nobody = ask(&door, Method::GET, "/parked?consumer=nobody.at_all", None).await;
    assert_eq!(nobody.problem(), (422, "BadConsumer".to_owned()));
}

#[actix_web::test]
async fn every_service_is_asked_for_its_followers_and_adopts() {
    let door = Door::open().await;
    let consumer = Consumer { consumer: "runs.follow_trials".to_owned(), ..Default::default() };
    door.fake.answer("list_consumers", &ListConsumersReply { consumers: vec![consumer.clone()] });
    let listed = ask(&door, Method::GET, "/consumers", None).await.json();
    assert_eq!(listed["consumers"].as_array().map(Vec::len), Some(5));
    let wanted = json!({"source": "sweeps@2", "from": 3});
    let none = ask(&door, Method::POST, ":adopt", Some(wanted.clone())).await;
    assert_eq!(none.problem(), (404, "NotFound".to_owned()));
    door.fake.answer("adopt_source", &AdoptReply { consumers: vec![consumer] });
    assert_eq!(ask(&door, Method::POST, ":adopt", Some(wanted)).await.status, 200);
    let asked = door.fake.calls("adopt_source");
    let services: Vec<String> = asked[5..].iter().map(|seen| seen.message::<AdoptRequest>().service).collect();
    assert_eq!(services, ["compute", "models", "runs", "sweeps", "workspaces"]);
}

#[actix_web::test]
async fn an_adoption_that_was_cut_off_can_be_asked_for_again() {
    // The first service's followers have adopted before; those of the others are still halted.
    let door = Door::open().await;
    let consumer = Consumer { consumer: "sweeps.follow_runs".to_owned(), ..Default::default() };
    door.fake.answer("adopt_source", &AdoptReply { consumers: vec![consumer] });
    let not_halted = || vocabulary::Problem::conflict("NotHalted", "it follows");
    door.fake.refuse_once("adopt_source", not_halted());
    let wanted = json!({"source": "runs@2", "from": 3});
    assert_eq!(ask(&door, Method::POST, ":adopt", Some(wanted.clone())).await.status, 200);
    door.fake.answer("adopt_source", &AdoptReply::default());
    door.fake.refuse_once("adopt_source", not_halted());
    assert_eq!(ask(&door, Method::POST, ":adopt", Some(wanted)).await.problem(), (409, "NotHalted".to_owned()));
}

#[actix_web::test]
async fn the_feed_is_for_administrators() {
    let door = Door::open().await;
    for (method, path) in [
        (Method::GET, "/consumers"),
        (Method::GET, "/parked?consumer=runs.follow_trials"),
        (Method::POST, "/parked:retry"),
        (Method::POST, "/parked:skip"),
        (Method::POST, ":adopt"),
    ] {
        let request = TestRequest::default().method(method).uri(&format!("/api/v1/feed{path}"));
        let refused = door.ask(as_token(request, "tlg_owner_x").set_json(json!({}))).await;
        assert_eq!(refused.problem(), (403, "Forbidden".to_owned()), "{path}");
    }
}
