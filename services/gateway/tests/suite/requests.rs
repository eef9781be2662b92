//! Requests to the door, and what all answers have in common: problems, ids, keys, tags, positions.

use std::sync::Arc;

use actix_web::body::to_bytes;
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::web::Data;
use actix_web::{App, http::header::HeaderMap};
use contracts::health::{CheckReply, UnreadyPart};
use contracts::workspaces::{TokenCreated, WorkspaceCreated};
use runtime::{Health, Shutdown};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use trialog_gateway::{Dependencies, Gateway};
use vocabulary::{ManualClock, Problem, SeededEntropy};

use super::fake::{Fake, POSITION};

pub const KEY: [u8; 32] = [7; 32];
pub const BASE: &str = "/api/v1/workspaces/lab";

/// An answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Status and code of a refusal, after checking that it has the form of one.
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        assert_eq!(problem["request_id"], self.header("x-request-id"), "{problem}");
        assert!(
            problem["errors"].is_array() && problem["title"].is_string() && problem["type"].is_string(),
            "{problem}"
        );
        (self.status.as_u16(), problem["code"].as_str().unwrap().to_owned())
    }
}

/// A door in front of fakes, with tokens `tlg_<scope>_x` of the workspace `lab` and `tlg_admin_x`; and a reader's
/// `tlg_brief_x` that expires 20 ms after the clock's beginning.
pub struct Door {
    pub fake: Fake,
    pub clock: Arc<ManualClock>,
    pub state: Data<Gateway>,
}

impl Door {
    /// A door whose tokens have been read.
    pub async fn open() -> Self {
        let door = Self::closed();
        let (state, peer) = (door.state.clone(), door.state.peers().workspaces.clone());
        actix_web::rt::spawn(async move { state.directory().follow(peer, Shutdown::new()).await });
        while !door.state.directory().is_ready() {
            tokio::task::yield_now().await;
        }
        door
    }

    /// A door that has read no tokens yet.
    pub fn closed() -> Self {
        let fake = Fake::default();
        for name in ["lab", "other"] {
            fake.fact("workspaces", "WorkspaceCreated", &WorkspaceCreated { name: name.to_owned() });
        }
        for name in ["admin", "owner", "contributor", "reader", "scorer", "brief"] {
            let sha256 = hex::encode(Sha256::digest(format!("tlg_{name}_x")));
            let workspace = if name == "admin" { String::new() } else { "lab".to_owned() };
            let (scope, expires_at_us) = if name == "brief" { ("reader", 20_000) } else { (name, 0) };
            let (token_id, scope) = (name.to_owned(), scope.to_owned());
            let name = format!("the {name}");
            let endpoint = String::new();
            let token = TokenCreated { token_id, sha256, scope, workspace, endpoint, name, expires_at_us };
            fake.fact("workspaces", "TokenCreated", &token);
        }
        let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
        let state = Data::new(Gateway::new(Dependencies {
            peers: fake.peers(),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(1)),
            shutdown: Shutdown::new(),
            health: Health::new(),
            signing_key: KEY,
            public_url: "http://trialog.test/".to_owned(),
        }));
        Self { fake, clock, state }
    }

    /// Sends as the contributor.
    pub async fn send(&self, method: Method, path: &str, body: Value) -> Answer {
        let request = TestRequest::default().method(method).uri(&format!("{BASE}{path}"));
        self.ask(as_token(request, "tlg_contributor_x").set_json(body)).await
    }

    /// Reads as the contributor.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask(as_token(TestRequest::get().uri(&format!("{BASE}{path}")), "tlg_contributor_x")).await
    }

    /// Sends any request.
    pub async fn ask(&self, request: TestRequest) -> Answer {
        let state = self.state.clone();
        let app = init_service(App::new().configure(|config| trialog_gateway::configure(state, config))).await;
        let response = call_service(&app, request.to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body()).await.map(|bytes| bytes.to_vec()).unwrap_or_default();
        Answer { status, headers, bytes }
    }
}

/// With a bearer token.
pub fn as_token(request: TestRequest, token: &str) -> TestRequest {
    request.insert_header(("authorization", format!("Bearer {token}")))
}

fn post(path: &str) -> TestRequest {
    as_token(TestRequest::post().uri(&format!("{BASE}{path}")), "tlg_contributor_x")
}

#[actix_web::test]
async fn every_kind_of_refusal_is_a_problem() {
    let door = Door::open().await;
    assert_eq!(door.get("/swoops").await.problem(), (404, "RouteNotFound".to_owned()));
    let misspelt = door.get("/sweps").await;
    assert!(misspelt.json()["detail"].as_str().unwrap().ends_with("did you mean /api/v1/workspaces/lab/sweeps?"));
    let wrong_method = door.send(Method::DELETE, "/sweeps", json!({})).await;
    assert_eq!(wrong_method.problem(), (405, "MethodNotAllowed".to_owned()));
    assert_eq!(wrong_method.header("allow"), "GET, POST");

    let text = door.ask(post("/runs").insert_header(("content-type", "text/plain")).set_payload("x")).await;
    assert_eq!(text.problem(), (415, "UnsupportedMediaType".to_owned()));
    let large = door
        .ask(post("/runs").insert_header(("content-type", "application/json")).set_payload(vec![b' '; (1 << 20) + 1]))
        .await;
    assert_eq!(large.problem(), (413, "TooLarge".to_owned()));
    let broken =
        door.ask(post("/runs").insert_header(("content-type", "application/json")).set_payload("{\"a\": 1 2}")).await;
    assert_eq!(broken.problem(), (400, "MalformedBody".to_owned()));
    assert!(broken.json()["detail"].as_str().unwrap().contains("line 1 column 9"), "{}", broken.text());
    let twice = door
        .ask(
            post("/runs")
                .insert_header(("content-type", "application/json"))
                .set_payload("{\"name\":\"a\",\"name\":\"b\"}"),
        )
        .await;
    assert_eq!(twice.problem(), (400, "DuplicateKey".to_owned()));
    assert_eq!(door.get("/runs?colour=red").await.problem(), (400, "UnknownField".to_owned()));
    assert_eq!(door.get("/runs/nonsense").await.problem(), (404, "NotFound".to_owned()));
    assert!(door.fake.calls("create_run").is_empty());
}

#[actix_web::test]
async fn the_services_problems_arrive_whole() {
    let door = Door::open().await;
    let mut problem = Problem::overloaded("too much at once", 3).with("queued", 12);
    problem.errors.push(vocabulary::FieldError::new("/a", "X", "y").with_hint("z"));
    door.fake.refuse("list_runs", problem);
    let answer = door.get("/runs").await;
    assert_eq!(answer.problem(), (429, "Overloaded".to_owned()));
    assert_eq!(answer.header("retry-after"), "3");
    assert_eq!((&answer.json()["queued"], &answer.json()["errors"][0]["hint"]), (&json!(12), &json!("z")));
}

#[actix_web::test]
async fn a_service_that_is_away_is_503() {
    let door = Door::open().await;
    let state = Data::new(Gateway::new(Dependencies {
        peers: contracts::Peers::default(),
        clock: Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH)),
        entropy: Arc::new(SeededEntropy::new(1)),
        shutdown: Shutdown::new(),
        health: Health::new(),
        signing_key: KEY,
        public_url: String::new(),
    }));
    let alone = Door { fake: door.fake, clock: door.clock, state };
    let ready = alone.ask(TestRequest::get().uri("/readyz")).await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["waiting"], json!(["tokens", "compute", "models", "runs", "sweeps", "workspaces"]));
}

#[actix_web::test]
async fn what_is_unwell_is_named_and_its_reason_is_not() {
    let door = Door::open().await;
    assert_eq!(door.ask(TestRequest::get().uri("/readyz")).await.status, 200);
    let part = UnreadyPart { part: "follow_trials".to_owned(), reason: "/secret/path".to_owned() };
    door.fake.answer("check", &CheckReply { unready: vec![part] });
    door.state.health().part("gateway", "routes").halted("another reason");
    let ready = door.ask(TestRequest::get().uri("/readyz")).await;
    let parts: Vec<_> =
        ["compute", "models", "runs", "sweeps", "workspaces"].map(|of| format!("{of}.follow_trials")).into();
    assert_eq!(
        (ready.status.as_u16(), &ready.json()["waiting"]),
        (503, &json!([&parts[..], &["gateway.routes".to_owned()]].concat()))
    );
    assert!(!ready.text().contains("secret"), "{}", ready.text());
    assert_eq!(door.fake.calls("check").len(), 10);
}

#[actix_web::test]
async fn a_repeated_key_is_the_same_command() {
    let door = Door::open().await;
    let keyed = |key: &'static str, body: Value| post("/runs").insert_header(("idempotency-key", key)).set_json(body);
    for request in [
        keyed("k1", json!({"name": "a"})),
        keyed("k1", json!({"name": "a"})),
        keyed("k1", json!({"name": "b"})),
        keyed("k2", json!({"name": "a"})),
        post("/runs").set_json(json!({"name": "a"})),
        post("/runs").set_json(json!({"name": "a"})),
    ] {
        assert_eq!(door.ask(request).await.status, 201);
    }
    let calls: Vec<_> = door.fake.calls("create_run").into_iter().map(|seen| seen.context).collect();
    assert_eq!(calls[0], contracts::CallContext { request_id: calls[0].request_id.clone(), ..calls[1].clone() });
    assert_eq!(calls[0].command_id, calls[2].command_id);
    assert_ne!(calls[0].request_hash, calls[2].request_hash);
    assert_ne!(calls[0].command_id, calls[3].command_id);
    assert_ne!(calls[4].command_id, calls[5].command_id);
    assert_eq!((calls[4].request_hash, calls[4].actor.as_str()), (None, "the contributor"));
    assert_eq!(door.ask(keyed("", json!({}))).await.problem(), (400, "BadIdempotencyKey".to_owned()));
}

#[actix_web::test]
async fn versions_and_positions_travel_in_headers() {
    let door = Door::open().await;
    let run = vocabulary::RunId::new(uuid::Uuid::from_u128(9));
    door.fake.answer("get_run", &contracts::runs::Run { run_id: run.to_string(), version: 4, ..Default::default() });
    let shown = door.get(&format!("/runs/{}", run.hex())).await;
    assert_eq!((shown.status.as_u16(), shown.header("etag")), (200, "\"v4\""));
    let seen = door.fake.calls("get_run")[0].message::<contracts::runs::GetRunRequest>();
    assert_eq!((seen.workspace, seen.run_id), ("lab".to_owned(), run.to_string()));

    let patch = TestRequest::patch().uri(&format!("{BASE}/runs/{run}")).insert_header(("if-match", "\"v4\""));
    let changed = door.ask(as_token(patch, "tlg_contributor_x").set_json(json!({"tags": {"a": "b"}}))).await;
    assert_eq!(
        (changed.status.as_u16(), changed.header("trialog-position")),
        (200, format!("runs={POSITION}").as_str())
    );
    assert_eq!(door.fake.calls("update_run")[0].context.expected_version, Some(4));

    let read = TestRequest::get().uri(&format!("{BASE}/runs")).insert_header(("trialog-at-least", "sweeps=3, runs=80"));
    door.ask(as_token(read, "tlg_reader_x")).await;
    assert_eq!(door.fake.calls("list_runs")[0].context.at_least, Some(80));
    let read = TestRequest::get().uri(&format!("{BASE}/runs")).insert_header(("trialog-at-least", "80"));
    assert_eq!(door.ask(as_token(read, "tlg_reader_x")).await.problem(), (400, "BadPosition".to_owned()));
}

#[actix_web::test]
async fn long_polls_wait_above_the_version_that_was_seen() {
    let door = Door::open().await;
    door.fake.answer("get_sweep", &contracts::sweeps::Sweep { version: 5, ..Default::default() });
    let poll = TestRequest::get().uri(&format!("{BASE}/sweeps/s1?wait=30s")).insert_header(("if-none-match", "\"v5\""));
    let answer = door.ask(as_token(poll, "tlg_reader_x")).await;
    assert_eq!((answer.status.as_u16(), answer.header("etag")), (304, "\"v5\""));
    assert_eq!(door.get("/sweeps/s1?wait=30s&after_version=4").await.status, 200);
    let calls = door.fake.calls("get_sweep");
    let asked = |index: usize| calls[index].message::<contracts::sweeps::GetSweepRequest>();
    assert_eq!((asked(0).wait_seconds, asked(0).after_version), (30.0, 5));
    assert_eq!((asked(1).wait_seconds, asked(1).after_version), (30.0, 4));
    assert_eq!(door.get("/sweeps/s1?wait=soon").await.problem(), (400, "BadWait".to_owned()));
}
