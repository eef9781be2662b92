//! Requests through the HTTP door to fake workers on Unix sockets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::{App, test, web};
use contracts::Peers;
use contracts::compute::{DeploymentRoute, EndpointRoute, Replica, RequestSettings, RouteTable};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use runtime::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use vocabulary::{ManualClock, Problem, SeededEntropy};

use crate::frame::RequestHeader;
use crate::{Dependencies, Inference, configure};

/// What a fake worker does with a request.
#[derive(Clone)]
enum Does {
    /// Answers `{"by": NAME, "kind": …, "body": …}`.
    Answer,
    /// Fails for the reason.
    Fail(&'static str),
    /// Answers when it may: each answer takes a permit.
    Wait(Arc<Semaphore>),
    /// Closes without a byte.
    Die,
    /// Closes within the answer.
    Tear,
}

struct Worker {
    address: String,
    asked: Arc<AtomicU32>,
    _task: Aborted,
}

struct Aborted(tokio::task::JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Worker {
    fn start(folder: &tempfile::TempDir, name: &str, does: Does) -> Self {
        let path: PathBuf = folder.path().join(format!("{name}.sock"));
        let listener = UnixListener::bind(&path).unwrap();
        let (asked, name) = (Arc::new(AtomicU32::new(0)), name.to_owned());
        let count = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, name.clone(), does.clone(), Arc::clone(&count)));
            }
        });
        Self { address: format!("unix:{}", path.display()), asked, _task: Aborted(task) }
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: UnixStream, name: String, does: Does, asked: Arc<AtomicU32>) {
    while let Ok(length) = stream.read_u32().await {
        let mut json = vec![0; length as usize];
        stream.read_exact(&mut json).await.unwrap();
        let header: RequestHeader = serde_json::from_slice(&json).unwrap();
        let mut body = vec![0; header.length];
        stream.read_exact(&mut body).await.unwrap();
        asked.fetch_add(1, Ordering::SeqCst);
        let body = serde_json::json!({"by": name, "kind": header.kind, "body": String::from_utf8_lossy(&body)});
        let body = body.to_string();
        let mut answer = crate::frame::AnswerHeader { id: header.id, status: "ok".to_owned(), ..Default::default() };
        match does {
            Does::Die => return,
            Does::Fail(reason) => {
                answer.status = "error".to_owned();
                answer.reason = Some(reason.to_owned());
                answer.error = Some("ValueError: no".to_owned());
            }
            _ => answer.length = body.len(),
        }
        if let Does::Wait(permits) = &does {
            permits.acquire().await.unwrap().forget();
        }
        let answer = serde_json::to_string(&answer).unwrap();
        stream.write_u32(answer.len() as u32).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        match does {
            Does::Fail(_) => {}
            Does::Tear => return,
            _ => stream.write_all(body.as_bytes()).await.unwrap(),
        }
    }
}

fn route(name: &str, weight: u32, workers: &[&Worker]) -> DeploymentRoute {
    let replica = |(index, worker): (usize, &&Worker)| Replica {
        job_id: format!("job_{name}_{index}"),
        attempt: 1,
        address: worker.address.clone(),
        ..Replica::default()
    };
    DeploymentRoute {
        deployment: name.to_owned(),
        weight,
        revision_key: 77,
        model: "digits".to_owned(),
        model_version: 3,
        request_settings: Some(RequestSettings {
            request_timeout_seconds: 0.3,
            max_concurrent_requests_per_instance: 1,
            max_queue_wait_seconds: 0.1,
            idempotent: None,
        }),
        replicas: workers.iter().enumerate().map(replica).collect(),
        instance_count: 1,
    }
}

fn table(deployments: Vec<DeploymentRoute>) -> RouteTable {
    let route = EndpointRoute { workspace: "default".to_owned(), endpoint: "digits".to_owned(), deployments };
    RouteTable { endpoints: vec![route] }
}

fn router(routes: Option<RouteTable>) -> web::Data<Inference> {
    let inference = Inference::new(Dependencies {
        peers: Peers::default(),
        entropy: Arc::new(SeededEntropy::new(7)),
        clock: Arc::new(ManualClock::new(jiff_epoch())),
        shutdown: Shutdown::new(),
        authenticate: Arc::new(|request, _, _| match request.headers().contains_key("authorization") {
            true => Ok(()),
            false => Err(Problem::new(401, "Unauthorized", "no token; send Authorization: Bearer TOKEN")),
        }),
    });
    if let Some(routes) = routes {
        inference.follower().take(routes);
    }
    web::Data::new(inference)
}

fn jiff_epoch() -> jiff::Timestamp {
    jiff::Timestamp::UNIX_EPOCH
}

/// Status, headers and JSON of an answer.
struct Seen {
    status: StatusCode,
    headers: BTreeMap<String, String>,
    body: serde_json::Value,
}

async fn send(state: &web::Data<Inference>, request: test::TestRequest) -> Seen {
    let (state, request) = (state.clone(), request.insert_header(("authorization", "Bearer x")));
    let app = test::init_service(App::new().configure(move |config| configure(state, config))).await;
    seen(test::call_service(&app, request.to_request()).await).await
}

async fn seen(response: ServiceResponse<impl MessageBody>) -> Seen {
    let status = response.status();
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    let body = test::read_body(response).await;
    Seen { status, headers, body: serde_json::from_slice(&body).unwrap_or_default() }
}

fn score() -> test::TestRequest {
    test::TestRequest::post().uri("/endpoints/default/digits/score").set_payload("[1, 2]")
}

#[actix_web::test]
async fn a_request_is_answered_with_where_it_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(&folder, "blue", Does::Answer);
    let router = router(Some(table(vec![route("blue", 100, &[&worker])])));
    let seen = send(&router, score().insert_header(("x-client-request-id", "my id/1?"))).await;
    assert_eq!(seen.status, 200);
    assert_eq!(seen.body, serde_json::json!({"by": "blue", "kind": "score", "body": "[1, 2]"}));
    assert_eq!(seen.headers["trialog-endpoint"], "digits");
    assert_eq!(seen.headers["trialog-deployment"], "blue");
    assert_eq!(seen.headers["trialog-model-version"], "digits/3");
    assert_eq!(seen.headers["x-client-request-id"], "myid/1");
    assert_eq!(vocabulary::request_id::parse(&seen.headers["x-request-id"]).unwrap().0, 77);
    let invocations = test::TestRequest::post().uri("/endpoints/default/digits/invocations").set_payload("{}");
    assert_eq!(send(&router, invocations).await.body["kind"], "invocations");
    for path in ["", "/", "/health"] {
        let health = test::TestRequest::get().uri(&format!("/endpoints/default/digits{path}"));
        assert_eq!(send(&router, health).await.status, 200, "{path}");
    }
}

#[actix_web::test]
async fn what_cannot_be_served_is_refused_by_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let blue = Worker::start(&folder, "blue", Does::Answer);
    let expect = |seen: Seen, status: u16, code: &str| {
        assert_eq!((seen.status.as_u16(), seen.body["code"].as_str().unwrap()), (status, code), "{}", seen.body);
        assert_eq!(seen.headers["content-type"], "application/problem+json");
        assert_eq!(seen.headers["x-request-id"], seen.body["request_id"].as_str().unwrap());
        seen.headers.get("retry-after").cloned()
    };
    assert!(expect(send(&router(None), score()).await, 503, "RoutesNotYet").is_some());
    let routes = router(Some(table(vec![route("blue", 0, &[&blue])])));
    expect(send(&routes, score()).await, 404, "NoTraffic");
    let elsewhere = test::TestRequest::post().uri("/endpoints/default/other/score");
    expect(send(&routes, elsewhere).await, 404, "NotFound");
    let named = |name: &'static str| score().insert_header(("azureml-model-deployment", name));
    expect(send(&routes, named("green")).await, 404, "UnknownDeployment");
    assert_eq!(send(&routes, named("blue")).await.body["by"], "blue", "a header needs no weight");
    let routes = router(Some(table(vec![route("blue", 100, &[])])));
    assert!(expect(send(&routes, score()).await, 503, "NotReady").is_some());
    expect(
        send(&routes, test::TestRequest::get().uri("/endpoints/default/digits/score")).await,
        405,
        "MethodNotAllowed",
    );
    expect(send(&routes, score().insert_header(("x-request-id", "x".repeat(101)))).await, 431, "HeaderTooLong");
    let state = routes.clone();
    let app = test::init_service(App::new().configure(move |config| configure(state, config))).await;
    expect(seen(test::call_service(&app, score().to_request()).await).await, 401, "Unauthorized");
    let large = score().set_payload(vec![b' '; (16 << 20) + 1]);
    expect(send(&routes, large).await, 413, "BodyTooLarge");
}

#[actix_web::test]
async fn a_model_error_is_424_and_a_late_answer_408() {
    let folder = tempfile::tempdir().unwrap();
    let bad = Worker::start(&folder, "bad", Does::Fail("ModelError"));
    let seen = send(&router(Some(table(vec![route("blue", 100, &[&bad])]))), score()).await;
    assert_eq!((seen.status.as_u16(), seen.body["code"].as_str()), (424, Some("ModelError")));
    assert_eq!(seen.headers["trialog-model-error-status"], "500");
    assert_eq!(seen.headers["trialog-model-error-reason"], "ModelError");
    assert_eq!(seen.headers["trialog-deployment"], "blue");
    // What the caller has to mend raises no alarm about the model, and is not tried again.
    for (reason, status) in [("BadRequest", 400), ("UnsupportedMediaType", 415)] {
        let picky = Worker::start(&folder, reason, Does::Fail(reason));
        let seen = send(&router(Some(table(vec![route("blue", 100, &[&picky])]))), score()).await;
        assert_eq!((seen.status.as_u16(), seen.body["code"].as_str()), (status, Some(reason)));
    }
    let odd = score().insert_header(("trialog-non-finite", "null"));
    let seen = send(&router(Some(table(vec![route("blue", 100, &[&bad])]))), odd).await;
    assert_eq!((seen.status.as_u16(), seen.body["code"].as_str()), (400, Some("BadHeader")));
    let slow = Worker::start(&folder, "slow", Does::Wait(Arc::new(Semaphore::new(0))));
    let seen = send(&router(Some(table(vec![route("blue", 100, &[&slow])]))), score()).await;
    assert_eq!((seen.status.as_u16(), seen.body["code"].as_str()), (408, Some("RequestTimeout")));
}

#[actix_web::test]
async fn more_than_a_deployment_can_take_is_429() {
    let folder = tempfile::tempdir().unwrap();
    let permits = Arc::new(Semaphore::new(0));
    let slow = Worker::start(&folder, "slow", Does::Wait(Arc::clone(&permits)));
    let router = router(Some(table(vec![route("blue", 100, &[&slow])])));
    let mut asked: FuturesUnordered<_> = (0..4).map(|_| send(&router, score())).collect();
    let mut all = Vec::new();
    while let Some(seen) = asked.next().await {
        all.push(seen);
        if all.len() == 3 {
            // The last is with the worker; one more permit is for the request behind them all.
            permits.add_permits(2);
        }
    }
    let count = |status: u16| all.iter().filter(|seen| seen.status.as_u16() == status).count();
    // One is answered, one waits longer than it may, two are beyond twice the concurrency.
    assert_eq!((count(200), count(429)), (1, 3));
    assert!(all.iter().filter(|seen| seen.status == 429).all(|seen| seen.headers["retry-after"] == "1"));
    assert_eq!(slow.asked(), 1);
    assert_eq!(send(&router, score()).await.status, 200, "the places are free again");
}

#[actix_web::test]
async fn a_killed_replica_costs_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let (dead, alive) = (Worker::start(&folder, "dead", Does::Die), Worker::start(&folder, "alive", Does::Answer));
    let router = router(Some(table(vec![route("blue", 100, &[&dead, &alive])])));
    for _ in 0..10 {
        assert_eq!(send(&router, score()).await.body["by"], "alive");
    }
    assert_eq!(dead.asked(), 1, "it is spared while the other one is there");
    // Nobody listens any more: nothing was sent, so any other may be asked.
    let gone =
        Worker { address: "unix:/nonexistent/socket".to_owned(), ..Worker::start(&folder, "gone", Does::Answer) };
    router_take(&router, table(vec![route("blue", 100, &[&gone, &gone, &alive])]));
    assert_eq!(send(&router, score()).await.status, 200);
    router_take(&router, table(vec![route("blue", 100, &[&gone])]));
    assert_eq!(send(&router, score()).await.status, 503);
}

fn router_take(router: &web::Data<Inference>, routes: RouteTable) {
    router.follower().take(routes);
}

#[actix_web::test]
async fn an_answer_that_broke_off_is_not_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let (torn, other) = (Worker::start(&folder, "torn", Does::Tear), Worker::start(&folder, "other", Does::Tear));
    let router = router(Some(table(vec![route("blue", 100, &[&torn, &other])])));
    let seen = send(&router, score()).await;
    assert_eq!((seen.status.as_u16(), seen.body["code"].as_str()), (500, Some("ReplicaLost")));
    assert_eq!(torn.asked() + other.asked(), 1);
    let (one, two) = (Worker::start(&folder, "one", Does::Die), Worker::start(&folder, "two", Does::Die));
    router_take(&router, table(vec![route("blue", 100, &[&one, &two])]));
    assert_eq!(send(&router, score().set_payload("[7]")).await.status, 500);
    assert_eq!(one.asked() + two.asked(), 2, "at most two replicas see a request that kills them");
}

#[actix_web::test]
async fn a_poison_request_is_refused_after_two_replicas() {
    // A client that repeats a request that kills the model must not keep every replica down for all others.
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Worker::start(&folder, "one", Does::Die), Worker::start(&folder, "two", Does::Die));
    let router = router(Some(table(vec![route("blue", 100, &[&one, &two])])));
    let asked = || one.asked() + two.asked();
    assert_eq!(send(&router, score()).await.status, 500);
    assert_eq!(asked(), 2);
    for _ in 0..3 {
        let refused = send(&router, score()).await;
        assert_eq!((refused.status.as_u16(), refused.body["code"].as_str()), (424, Some("PoisonRequest")));
        assert_eq!(refused.headers["retry-after"], "60");
    }
    assert_eq!(asked(), 2, "no replica sees it again");
    // Another revision is another model: it is asked afresh. And other content was never suspected.
    let alive = Worker::start(&folder, "alive", Does::Answer);
    router_take(&router, table(vec![route("blue", 100, &[&alive])]));
    assert_eq!(send(&router, score().set_payload("[3]")).await.status, 200);
    assert_eq!(send(&router, score()).await.status, 424);
    router_take(&router, table(vec![DeploymentRoute { revision_key: 78, ..route("blue", 100, &[&alive]) }]));
    assert_eq!(send(&router, score()).await.status, 200);
}

#[actix_web::test]
async fn a_request_that_may_not_be_repeated_is_sent_once() {
    // A model that books or sends something must not do it twice.
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Worker::start(&folder, "one", Does::Die), Worker::start(&folder, "two", Does::Die));
    let once = |request_settings: RequestSettings| DeploymentRoute {
        request_settings: Some(RequestSettings { idempotent: Some(false), ..request_settings }),
        ..route("blue", 100, &[&one, &two])
    };
    let settings = route("blue", 100, &[]).request_settings.unwrap();
    let router = router(Some(table(vec![once(settings)])));
    assert_eq!(send(&router, score()).await.body["code"], "ReplicaLost");
    assert_eq!(one.asked() + two.asked(), 1);
    // The client knows better, either way.
    let twice = score().set_payload("[4]").insert_header(("trialog-idempotent", "true"));
    assert_eq!(send(&router, twice).await.status, 500);
    assert_eq!(one.asked() + two.asked(), 3);
    router_take(&router, table(vec![route("blue", 100, &[&one, &two])]));
    let single = score().set_payload("[5]").insert_header(("trialog-idempotent", "false"));
    assert_eq!(send(&router, single).await.status, 500);
    assert_eq!(one.asked() + two.asked(), 4);
    let odd = score().insert_header(("trialog-idempotent", "maybe"));
    assert_eq!(send(&router, odd).await.body["code"], "BadHeader");
    // Nobody listens there: nothing was sent, so another may be asked.
    let alive = Worker::start(&folder, "alive", Does::Answer);
    let gone =
        Worker { address: "unix:/nonexistent/socket".to_owned(), ..Worker::start(&folder, "gone", Does::Answer) };
    router_take(
        &router,
        table(vec![DeploymentRoute { replicas: route("blue", 100, &[&gone, &alive]).replicas, ..once(settings) }]),
    );
    assert_eq!(send(&router, score().set_payload("[6]")).await.body["by"], "alive");
}

#[actix_web::test]
async fn a_replica_that_comes_in_time_answers_those_who_wait() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(&folder, "blue", Does::Answer);
    let router = router(Some(table(vec![route("blue", 100, &[])])));
    let late = async {
        while router.generation.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
        router_take(&router, table(vec![route("blue", 100, &[&worker])]));
    };
    let (seen, ()) = tokio::join!(send(&router, score()), late);
    assert_eq!(seen.status, 200);
}

#[actix_web::test]
async fn a_route_that_is_on_its_way_is_waited_for() {
    // Whoever was told that traffic is set asks at once, and the routes may come a moment later.
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(&folder, "blue", Does::Answer);
    let before = [table(Vec::new()), table(vec![route("blue", 0, &[&worker])]), RouteTable { endpoints: Vec::new() }];
    for before in before {
        let router = router(Some(before));
        let late = async {
            while router.generation.receiver_count() == 0 {
                tokio::task::yield_now().await;
            }
            router_take(&router, table(vec![route("blue", 100, &[&worker])]));
        };
        let (seen, ()) = tokio::join!(send(&router, score()), late);
        assert_eq!(seen.status, 200, "{}", seen.body);
    }
}

#[actix_web::test]
async fn requests_are_split_by_weight_over_what_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(&folder, "any", Does::Answer);
    let routes = vec![route("a", 20, &[&worker]), route("b", 30, &[&worker]), route("c", 50, &[])];
    let router = router(Some(table(routes)));
    let state = router.clone();
    let app = test::init_service(App::new().configure(move |config| configure(state, config))).await;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..2_000 {
        let request = score().insert_header(("authorization", "Bearer x")).to_request();
        let response = app.call(request).await.unwrap();
        let deployment = response.headers().get("trialog-deployment").unwrap().to_str().unwrap().to_owned();
        *counts.entry(deployment).or_default() += 1;
    }
    // 20 : 30 of what is ready are 40 and 60 percent; c has none.
    let share = |name: &str| f64::from(counts[name]) / 20.0;
    assert!((share("a") - 40.0).abs() < 3.0 && (share("b") - 60.0).abs() < 3.0, "{counts:?}");
    assert_eq!(counts.len(), 2);
}

#[actix_web::test]
async fn answers_are_counted_by_deployment_as_long_as_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(&folder, "blue", Does::Answer);
    let router = router(Some(table(vec![route("blue", 100, &[&worker]), route("green", 0, &[])])));
    for (name, status) in [("blue", 200), ("blue", 200), ("green", 503), ("red", 404)] {
        assert_eq!(send(&router, score().insert_header(("trialog-deployment", name))).await.status, status);
    }
    // Names that anybody may think of are no series.
    send(&router, test::TestRequest::post().uri("/endpoints/default/nothing/score")).await;
    let counted = |with_names: bool| {
        let requests = router.measure(with_names).into_iter().find(|family| family.r#type == "counter").unwrap();
        let read = |sample: contracts::health::Sample| {
            let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
            (label("deployment"), label("status"), sample.value)
        };
        requests.samples.into_iter().map(read).collect::<Vec<_>>()
    };
    let rows = |rows: &[(&str, &str, f64)]| {
        rows.iter().map(|(name, status, count)| ((*name).to_owned(), (*status).to_owned(), *count)).collect::<Vec<_>>()
    };
    assert_eq!(counted(true), rows(&[("", "404", 1.0), ("blue", "200", 2.0), ("green", "503", 1.0)]));
    assert_eq!(counted(false), rows(&[("", "200", 2.0), ("", "404", 1.0), ("", "503", 1.0)]));
    router_take(&router, table(vec![route("green", 100, &[&worker])]));
    assert_eq!(counted(true), rows(&[("", "404", 1.0), ("green", "503", 1.0)]));
}
