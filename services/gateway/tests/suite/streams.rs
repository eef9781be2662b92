//! What flows: objects, artifacts, logs, events; also over a real connection, where HEAD and ends of streams show.

use std::pin::pin;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use actix_web::{App, HttpServer};
use contracts::runs::{Artifact, ListArtifactsReply, LogChunk, RecordArtifactsRequest};
use contracts::sweeps::{Sweep, SweepStateChanged};
use futures_util::future::{Either, join, select};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vocabulary::RunId;

use super::requests::{BASE, Door, as_token};

#[actix_web::test]
async fn objects_go_in_and_out_in_parts() {
    let door = Door::open().await;
    let content: Vec<u8> = (0..200_000u32).map(|byte| byte as u8).collect();
    let hash = hex::encode(Sha256::digest(&content));
    let uri = format!("{BASE}/objects/sha256:{hash}");
    let put = as_token(TestRequest::put().uri(&uri), "tlg_contributor_x").set_payload(content.clone());
    let stored = door.ask(put).await;
    assert_eq!((stored.status.as_u16(), &stored.json()["size_bytes"]), (201, &200_000.into()), "{}", stored.text());
    assert_eq!(door.get(&format!("/objects/sha256:{hash}")).await.bytes, content);
    let range =
        |range: &'static str| as_token(TestRequest::get().uri(&uri), "tlg_reader_x").insert_header(("range", range));
    let part = door.ask(range("bytes=10-13")).await;
    assert_eq!((part.status.as_u16(), part.bytes.as_slice()), (206, &content[10..14]));
    assert_eq!(part.header("content-range"), "bytes 10-13/200000");
    assert_eq!(door.ask(range("bytes=200000-")).await.problem(), (416, "RangeNotSatisfiable".to_owned()));
    let wrong = as_token(TestRequest::put().uri(&uri), "tlg_contributor_x").set_payload("other");
    assert_eq!(door.ask(wrong).await.problem(), (422, "HashMismatch".to_owned()));
    assert_eq!(door.get("/objects/sha256:xyz").await.problem(), (422, "BadHash".to_owned()));
}

#[actix_web::test]
async fn artifacts_are_stored_under_their_paths_and_the_newest_is_read() {
    let door = Door::open().await;
    let run = RunId::new(uuid::Uuid::from_u128(1));
    let uri = format!("{BASE}/runs/{run}/artifacts/outputs/a%20b.json");
    let put = as_token(TestRequest::put().uri(&uri), "tlg_contributor_x").set_payload("{}");
    assert_eq!(door.ask(put).await.status, 201);
    let recorded = door.fake.calls("record_artifacts")[0].message::<RecordArtifactsRequest>();
    assert_eq!((recorded.artifacts[0].path.as_str(), recorded.artifacts[0].size_bytes), ("outputs/a b.json", 2));
    let artifact = |content: &[u8], attempt| Artifact {
        path: "outputs/a b.json".to_owned(),
        sha256: door.fake.object(content),
        size_bytes: content.len() as u64,
        attempt,
        superseded: false,
    };
    let artifacts = vec![artifact(b"newer", 2), artifact(b"old", 1)];
    door.fake.answer("list_artifacts", &ListArtifactsReply { artifacts, ..Default::default() });
    let read = door.get(&format!("/runs/{run}/artifacts/outputs/a%20b.json")).await;
    assert_eq!((read.text().as_str(), read.header("content-type")), ("newer", "application/json"));
    assert_eq!(door.get(&format!("/runs/{run}/artifacts/outputs")).await.status, 404);
    // An object that has become longer would end where it was to, and look whole.
    let artifacts = vec![Artifact { size_bytes: 3, ..artifact(b"longer", 1) }];
    door.fake.answer("list_artifacts", &ListArtifactsReply { artifacts, ..Default::default() });
    let damaged = door.get(&format!("/runs/{run}/artifacts/outputs/a%20b.json")).await;
    assert_eq!(damaged.problem(), (500, "ObjectDamaged".to_owned()));
}

#[actix_web::test]
async fn logs_are_plain_text() {
    let door = Door::open().await;
    let run = RunId::new(uuid::Uuid::from_u128(1));
    door.fake.answer("read_logs", &LogChunk { data: b"epoch 1\nepoch 2\n".to_vec(), ..LogChunk::default() });
    let logs = door.get(&format!("/runs/{run}/logs?follow=true&attempt=2&stream=stdout")).await;
    assert_eq!(
        (logs.text().as_str(), logs.header("content-type")),
        ("epoch 1\nepoch 2\n", "text/plain; charset=utf-8")
    );
    let asked = door.fake.calls("read_logs")[0].message::<contracts::runs::ReadLogsRequest>();
    assert_eq!((asked.follow, asked.attempt, asked.stream.as_str()), (true, 2, "stdout"));
}

fn changed(sweep_id: &str, state: &str) -> SweepStateChanged {
    let (workspace, sweep_id, state) = ("lab".to_owned(), sweep_id.to_owned(), state.to_owned());
    SweepStateChanged { workspace, sweep_id, state, ..Default::default() }
}

/// Sends one request over a connection and reads until `until` shows or the end.
async fn raw(address: std::net::SocketAddr, request: String, until: &str) -> String {
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut connection, until).await
}

async fn read_until(connection: &mut tokio::net::TcpStream, until: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    let read = async {
        loop {
            let count = connection.read(&mut buffer).await.unwrap();
            text.push_str(&String::from_utf8_lossy(&buffer[..count]));
            if count == 0 || text.contains(until) {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), read).await.expect("the answer did not come");
    text
}

#[actix_web::test]
async fn a_real_connection_shows_heads_and_events() {
    let door = Door::open().await;
    door.fake.answer("get_sweep", &Sweep { sweep_id: "s1".to_owned(), ..Sweep::default() });
    for (sweep, state) in [("s1", "Queued"), ("s2", "Queued"), ("s1", "Running")] {
        door.fake.fact("sweeps", "SweepStateChanged", &changed(sweep, state));
    }
    let hash = door.fake.object(b"twelve bytes");
    let state = door.state.clone();
    let server = HttpServer::new(move || {
        let state = state.clone();
        App::new().configure(move |config| trialog_gateway::configure(state, config))
    });
    let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let ask = |method: Method, path: &str, more: &str| {
        format!("{method} {BASE}{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer tlg_reader_x\r\n{more}\r\n")
    };
    let close = "connection: close\r\n";
    let head = raw(address, ask(Method::HEAD, &format!("/objects/sha256:{hash}"), close), "\u{0}").await.to_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 12\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "a HEAD has no body: {head}");
    let got = raw(address, ask(Method::GET, &format!("/objects/sha256:{hash}"), close), "\u{0}").await;
    assert!(got.ends_with("twelve bytes"), "{got}");

    let all = raw(address, ask(Method::GET, "/sweeps/one/events", ""), "Running").await;
    assert!(all.contains("id: sweeps@1=1\nevent: SweepStateChanged\n") && !all.contains("=2\n"), "{all}");
    let rest = raw(address, ask(Method::GET, "/sweeps/one/events", "last-event-id: sweeps@1=1\r\n"), "Running").await;
    assert!(rest.contains("id: sweeps@1=3\n") && !rest.contains("Queued"), "{rest}");
    // The end of the process ends open streams, or stopping would wait for their readers.
    let mut open = tokio::net::TcpStream::connect(address).await.unwrap();
    open.write_all(ask(Method::GET, "/sweeps/one/events", close).as_bytes()).await.unwrap();
    read_until(&mut open, "Running").await;
    door.state.shutdown().request();
    read_until(&mut open, "\u{0}").await;
    handle.stop(true).await;
}

#[actix_web::test]
async fn a_position_beyond_the_head_is_refused() {
    // It belongs to another log: whoever waits for it would wait for ever, and then miss what came before.
    let door = Door::open().await;
    door.fake.answer("get_sweep", &Sweep { sweep_id: "s1".to_owned(), ..Sweep::default() });
    door.fake.fact("sweeps", "SweepStateChanged", &changed("s1", "Queued"));
    let answer = door.get("/sweeps/one/events?from=sweeps%3D9").await;
    assert_eq!(answer.problem(), (412, "FailedPrecondition".to_owned()));
    assert!(answer.text().contains("its head is 1"), "{}", answer.text());
}

#[actix_web::test]
async fn an_id_from_a_log_that_was_made_anew_is_refused() {
    // By number alone the reader would go on in the midst of other events, and never know what it has missed.
    let door = Door::open().await;
    door.fake.answer("get_sweep", &Sweep { sweep_id: "s1".to_owned(), ..Sweep::default() });
    door.fake.fact("sweeps", "SweepStateChanged", &changed("s1", "Queued"));
    let resumed = as_token(TestRequest::get().uri(&format!("{BASE}/sweeps/one/events")), "tlg_reader_x");
    let asked = door.ask(resumed.insert_header(("last-event-id", "sweeps@0=1")));
    let answer = tokio::time::timeout(std::time::Duration::from_secs(10), asked).await.expect("it is no stream");
    assert_eq!(answer.problem(), (412, "OtherIncarnation".to_owned()));
}

#[actix_web::test]
async fn open_streams_end_with_their_token() {
    let door = Door::open().await;
    door.fake.answer("get_sweep", &Sweep { sweep_id: "s1".to_owned(), ..Sweep::default() });
    let ask = |token| door.ask(as_token(TestRequest::get().uri(&format!("{BASE}/sweeps/one/events")), token));
    let revoke = async {
        // A stream is open once its service was read.
        while door.fake.calls("get_sweep").len() < 2 {
            tokio::task::yield_now().await;
        }
        door.state.directory().remove_token("contributor");
    };
    let (reading, other) = (pin!(ask("tlg_reader_x")), pin!(join(ask("tlg_contributor_x"), revoke)));
    let patience = std::time::Duration::from_secs(60);
    let first = tokio::time::timeout(patience, select(reading, other)).await.expect("one ends");
    let Either::Right(((other, ()), reading)) = first else { panic!("a stream ended with the token of another") };
    door.state.directory().remove_token("reader");
    let answer = tokio::time::timeout(patience, reading).await.expect("it ends");
    // How much of it had come by then depends on who was faster.
    for answer in [answer, other] {
        assert!(answer.status.is_success(), "{}", answer.text());
    }
    assert_eq!(ask("tlg_reader_x").await.problem(), (401, "Unauthenticated".to_owned()));
}

#[actix_web::test]
async fn open_streams_end_when_their_token_expires() {
    let door = Door::open().await;
    door.fake.answer("get_sweep", &Sweep { sweep_id: "s1".to_owned(), ..Sweep::default() });
    let ask = |token| door.ask(as_token(TestRequest::get().uri(&format!("{BASE}/sweeps/one/events")), token));
    let expire = async {
        // A stream is open once its service was read.
        while door.fake.calls("get_sweep").is_empty() {
            tokio::task::yield_now().await;
        }
        door.clock.advance_us(20_000);
    };
    let patience = std::time::Duration::from_secs(20);
    let (answer, ()) = tokio::time::timeout(patience, join(ask("tlg_brief_x"), expire)).await.expect("it ends");
    assert!(answer.status.is_success(), "{}", answer.text());
}

#[actix_web::test]
async fn a_runs_token_ends_its_streams_when_another_attempt_takes_over() {
    let door = Door::open().await;
    let run_id = RunId::new(uuid::Uuid::from_u128(1)).to_string();
    let token = |attempt| {
        trialog_gateway::Principal::Run(trialog_gateway::RunToken {
            workspace: "lab".to_owned(),
            run_id: run_id.clone(),
            attempt,
        })
    };
    door.fake.answer("get_run", &contracts::runs::Run { attempt: 2, ..Default::default() });
    door.state.token_end(&token(1)).await;
    let short = std::time::Duration::from_millis(100);
    assert!(tokio::time::timeout(short, door.state.token_end(&token(2))).await.is_err(), "it still speaks");
}
