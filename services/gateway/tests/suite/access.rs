//! Who gets in, and how far.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use contracts::AttemptBearer;
use contracts::runs::RecordMetricsRequest;
use contracts::workspaces::{CreatedToken, ListTokensRequest, RevokeTokenRequest, Token};
use serde_json::json;
use trialog_gateway::RunToken;
use vocabulary::RunId;

use super::requests::{BASE, Door, KEY, as_token};

#[actix_web::test]
async fn tokens_decide_who_gets_in() {
    let door = Door::open().await;
    let with = |token: &str, method: Method, path: &str| {
        let request = TestRequest::default().method(method).uri(&format!("/api/v1/workspaces/{path}"));
        as_token(request, token).set_json(json!({}))
    };
    for (token, method, path, status) in [
        ("", Method::GET, "lab/runs", 401),
        ("tlg_reader_y", Method::GET, "lab/runs", 401),
        ("password", Method::GET, "lab/runs", 401),
        ("tlg_reader_x", Method::GET, "lab/runs", 200),
        ("tlg_reader_x", Method::POST, "lab/runs", 403),
        ("tlg_scorer_x", Method::GET, "lab/runs", 403),
        ("tlg_contributor_x", Method::GET, "lab/tokens", 403),
        ("tlg_owner_x", Method::GET, "lab/tokens", 200),
        ("tlg_owner_x", Method::GET, "other/runs", 404),
        ("tlg_owner_x", Method::PUT, "lab", 403),
        ("tlg_admin_x", Method::GET, "other/runs", 200),
        ("tlg_admin_x", Method::GET, "nowhere/runs", 404),
        ("tlg_admin_x", Method::PUT, "fresh", 200),
    ] {
        let answer = door.ask(with(token, method.clone(), path)).await;
        assert_eq!(answer.status.as_u16(), status, "{token} {method} {path}: {}", answer.text());
        // Most who meet it use the command line.
        let ways = ["--token", "TRIALOG_TOKEN", "trialog init"];
        let names_the_ways = ways.iter().all(|way| answer.text().contains(way));
        assert!(status != 401 || names_the_ways, "{token}: {}", answer.text());
    }
    let basic = TestRequest::get()
        .uri(&format!("{BASE}/runs"))
        .insert_header(("authorization", "Basic YW55OnRsZ19yZWFkZXJfeA=="));
    assert_eq!(door.ask(basic).await.status, 200);
    // A body that is refused anyway says so before the token is asked for.
    let large =
        TestRequest::post().uri(&format!("{BASE}/runs")).insert_header(("content-type", "text/plain")).set_payload("x");
    assert_eq!(door.ask(large).await.status, 415);
}

#[actix_web::test]
async fn what_is_open_needs_no_token() {
    let door = Door::closed();
    for path in ["/version", "/openapi.json", "/docs/problems", "/docs/", "/metrics", "/health"] {
        let answer = door.ask(TestRequest::get().uri(path)).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.header("x-request-id").is_empty(), "{path}");
    }
    assert_eq!(door.ask(TestRequest::get().uri("/health")).await.text(), "OK");
    assert_eq!(door.ask(TestRequest::get().uri("/version")).await.json()["url"], "http://trialog.test");
    assert_eq!(door.ask(TestRequest::get().uri("/readyz")).await.json()["waiting"], json!(["tokens"]));
    assert_eq!(door.get("/runs").await.problem(), (503, "NotReady".to_owned()));
    let counted = door.ask(TestRequest::get().uri("/metrics")).await.text();
    assert!(
        counted.contains(r#"trialog_http_requests_total{method="GET",route="/version",status="200"}"#),
        "{counted}"
    );
}

#[actix_web::test]
async fn a_run_token_writes_its_own_run_only() {
    let door = Door::open().await;
    let (own, other) = (RunId::new(uuid::Uuid::from_u128(1)), RunId::new(uuid::Uuid::from_u128(2)));
    let token = RunToken { workspace: "lab".to_owned(), run_id: own.to_string(), attempt: 3 };
    let token = token.mint(&KEY);
    let post = |run: RunId, attempt: u32| {
        let request = TestRequest::post().uri(&format!("{BASE}/runs/{run}/metrics"));
        as_token(request, &token).set_json(json!({"attempt": attempt, "metrics": [{"name": "a", "value": 1}]}))
    };
    assert_eq!(door.ask(post(own, 3)).await.status, 200);
    assert_eq!(door.ask(post(own, 0)).await.status, 200);
    assert_eq!(door.ask(post(own, 2)).await.problem(), (403, "Forbidden".to_owned()));
    assert_eq!(door.ask(post(other, 3)).await.problem(), (403, "Forbidden".to_owned()));
    let calls = door.fake.calls("record_metrics");
    let attempts: Vec<_> = calls.iter().map(|seen| seen.message::<RecordMetricsRequest>().attempt).collect();
    assert_eq!(attempts, [3, 3]);
    assert_eq!(calls[0].context.actor, format!("run:{own}#3"));
    let bearer = Some(AttemptBearer { run_id: own.to_string(), attempt: 3 });
    assert!(calls.iter().all(|seen| seen.context.attempt == bearer), "runs refuses it once the attempt is over");
    let list = as_token(TestRequest::get().uri(&format!("{BASE}/sweeps")), &token);
    assert_eq!(door.ask(list).await.problem(), (403, "Forbidden".to_owned()));
    let forged = as_token(TestRequest::get().uri(&format!("{BASE}/runs/{own}")), &token.replace(".3.", ".4."));
    assert_eq!(door.ask(forged).await.problem(), (401, "Unauthenticated".to_owned()));
}

#[actix_web::test]
async fn a_token_works_at_once_and_ends_at_once() {
    let door = Door::open().await;
    let (token_id, workspace) = ("fresh".to_owned(), "lab".to_owned());
    let token = Token { token_id, workspace, scope: "reader".to_owned(), ..Token::default() };
    door.fake.answer("create_token", &CreatedToken { token: Some(token), text: "tlg_fresh_x".to_owned() });
    let as_owner = |request: TestRequest| as_token(request, "tlg_owner_x");
    let made =
        as_owner(TestRequest::post().uri(&format!("{BASE}/tokens"))).set_json(json!({"name": "n", "scope": "reader"}));
    assert_eq!(door.ask(made).await.status, 201);
    let read = || as_token(TestRequest::get().uri(&format!("{BASE}/runs")), "tlg_fresh_x");
    assert_eq!(door.ask(read()).await.status, 200);
    assert_eq!(door.ask(as_owner(TestRequest::delete().uri(&format!("{BASE}/tokens/fresh")))).await.status, 200);
    assert_eq!(door.ask(read()).await.status, 401);
    // Nobody makes more of themselves than they are.
    let admin =
        as_owner(TestRequest::post().uri(&format!("{BASE}/tokens"))).set_json(json!({"name": "n", "scope": "admin"}));
    assert_eq!(door.ask(admin).await.status, 403);
}

#[actix_web::test]
async fn a_token_is_good_until_it_expires() {
    // One that was given to a contractor or a pipeline would open the workspace for ever.
    let door = Door::open().await;
    let read = |token: &str| as_token(TestRequest::get().uri(&format!("{BASE}/runs")), token);
    assert_eq!(door.ask(read("tlg_brief_x")).await.status, 200);
    door.clock.advance_us(20_000);
    let refused = door.ask(read("tlg_brief_x")).await;
    assert_eq!(refused.problem(), (401, "TokenExpired".to_owned()));
    for part in ["'the brief' (brief) expired at 1970-01-01T00:00:00.02Z", "trialog token create", "TRIALOG_TOKEN"] {
        assert!(refused.text().contains(part), "{}", refused.text());
    }
    assert_eq!(door.ask(read("tlg_reader_x")).await.status, 200);
    // The one that was made just now, before its fact has arrived, ends as well.
    let token = Token { scope: "reader".to_owned(), expires_at: "1970-01-01T00:00:01Z".to_owned(), ..Token::default() };
    let token = Token { token_id: "fresh".to_owned(), workspace: "lab".to_owned(), ..token };
    door.fake.answer("create_token", &CreatedToken { token: Some(token), text: "tlg_fresh_x".to_owned() });
    let body = json!({"name": "n", "scope": "reader", "expires_in_seconds": 1});
    let make = as_token(TestRequest::post().uri(&format!("{BASE}/tokens")), "tlg_owner_x").set_json(body);
    assert_eq!(door.ask(make).await.status, 201);
    assert_eq!(door.ask(read("tlg_fresh_x")).await.status, 200);
    door.clock.advance_us(1_000_000);
    assert_eq!(door.ask(read("tlg_fresh_x")).await.problem(), (401, "TokenExpired".to_owned()));
}

#[actix_web::test]
async fn admins_see_and_end_the_tokens_of_admins() {
    // One that was lost opened every workspace for ever: it was in no list and could not be revoked.
    let door = Door::open().await;
    let list = |token: &str| as_token(TestRequest::get().uri("/api/v1/tokens"), token);
    let end = |token: &str| as_token(TestRequest::delete().uri("/api/v1/tokens/admin"), token);
    for request in [list("tlg_owner_x"), end("tlg_owner_x")] {
        assert_eq!(door.ask(request).await.problem(), (403, "Forbidden".to_owned()));
    }
    assert_eq!(door.ask(list("tlg_admin_x")).await.status, 200);
    let asked = door.fake.calls("list_tokens")[0].message::<ListTokensRequest>();
    assert_eq!(asked.workspace, "", "those of the installation");
    assert_eq!(door.ask(end("tlg_admin_x")).await.status, 200);
    let ended = door.fake.calls("revoke_token")[0].message::<RevokeTokenRequest>();
    assert_eq!((ended.workspace.as_str(), ended.token_id.as_str()), ("", "admin"));
    assert_eq!(door.ask(list("tlg_admin_x")).await.status, 401);
}

#[actix_web::test]
async fn pages_run_nothing_of_others_and_stand_in_no_frame() {
    let door = Door::closed();
    for path in ["/docs/", "/docs/problems", "/docs/swagger-ui-bundle.js"] {
        let answer = door.ask(TestRequest::get().uri(path)).await;
        let rules = answer.header("content-security-policy");
        assert!(rules.contains("default-src 'none'") && rules.contains("frame-ancestors 'none'"), "{path}: {rules}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        // The rules hold only for pages whose scripts are files.
        let text = answer.text();
        let scripts = text.split("<script").skip(1).filter(|_| !path.ends_with(".js"));
        assert!(scripts.into_iter().all(|script| script.split('>').next().unwrap().contains("src=")), "{path}");
    }
}

#[actix_web::test]
async fn a_name_that_no_thing_can_have_is_refused_on_every_route() {
    // Some were answered with 500, and names that are no UTF-8 became one another.
    let door = Door::open().await;
    let document: serde_json::Value = serde_json::to_value(trialog_gateway::openapi()).unwrap();
    let mut asked = 0;
    // Scoring has a door of its own.
    let paths = document["paths"].as_object().unwrap().iter().filter(|(path, _)| !path.starts_with("/endpoints/"));
    for (path, item) in paths {
        for method in item.as_object().unwrap().keys() {
            let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
            for (name, bad) in names.flat_map(|name| ["x%1Fy", "x%1Ey", "x%FFy"].map(|bad| (name, bad))) {
                let run = RunId::new(uuid::Uuid::from_u128(1)).to_string();
                let uri = path.replace(&format!("{{{name}}}"), bad).replace("{workspace}", "lab");
                let uri = uri.replace("{run}", &run).replace("{index}", "1").replace(['{', '}'], "");
                let method: Method = method.to_uppercase().parse().unwrap();
                let request = as_token(TestRequest::default().method(method.clone()).uri(&uri), "tlg_admin_x");
                let answer = door.ask(request.set_json(json!({}))).await;
                assert_eq!(answer.problem(), (400, "BadPath".to_owned()), "{method} {uri}");
                asked += 1;
            }
        }
    }
    assert!(asked > 300, "{asked}");
}
