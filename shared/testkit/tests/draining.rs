//! A server that is asked to end while it is busy answers what it has taken on, takes on nothing more, and is gone
//! soon: an upgrade costs callers a repeated call at most, and never the doubt whether one was done.

use std::collections::BTreeSet;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::json;
use trialog_testkit::{Home, Options, Server, Watchdog, await_that, http};

const LIMIT: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(30);
/// Requests that are under way have 3 s, and what is behind them is closed within the rest.
const END_MAX: Duration = Duration::from_secs(10);
const CALLERS: usize = 8;
/// So many calls are answered before the server is asked to end: it is in the middle of others then.
const ANSWERED_BEFORE: usize = 80;

/// What a caller has seen, by the names of the runs that it wanted.
#[derive(Debug, Default)]
struct Seen {
    answered: BTreeSet<String>,
    refused: BTreeSet<String>,
    /// The connection ended before an answer came.
    cut: BTreeSet<String>,
}

/// Makes runs, one after the other, until nobody listens any more.
fn call(url: &str, token: &str, caller: usize, answered: &Sender<()>) -> Seen {
    let (mut seen, http) = (Seen::default(), http().timeout(PATIENCE).build().expect("an HTTP client"));
    for number in 0.. {
        let name = format!("{caller}-{number}");
        let body = json!({"experiment": "busy", "name": name}).to_string();
        let request = http.post(url).bearer_auth(token).header("content-type", "application/json").body(body);
        match request.send() {
            Ok(answer) if answer.status() == 201 => {
                seen.answered.insert(name);
                // Nobody counts any more when the server ends.
                let _ = answered.send(());
            }
            Ok(answer) => {
                let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
                assert_eq!(
                    (status, headers.contains_key("retry-after")),
                    (503, true),
                    "{}",
                    answer.text().expect("text")
                );
                seen.refused.insert(name);
            }
            Err(error) if error.is_connect() => break,
            Err(error) => {
                assert!(!error.is_timeout(), "an answer that never came: {error}");
                seen.cut.insert(name);
            }
        }
    }
    seen
}

fn ask_to_end(server: &Server) {
    let pid = server.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).expect("it lives");
    rustix::process::kill_process(pid, Signal::TERM).expect("a signal");
}

#[test]
fn a_busy_server_that_is_asked_to_end_answers_what_it_has_taken_on() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "a busy server's end");
    let mut server = Server::start(Options::up(&home));
    let (client, token) = (server.client(), server.token());
    let (url, address) = (format!("{}/api/v1/workspaces/default/runs", server.url()), server.url());
    let (answered, count) = channel();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (url, token, answered) = (url.clone(), token.clone(), answered.clone());
            std::thread::spawn(move || call(&url, &token, caller, &answered))
        })
        .collect();
    (0..ANSWERED_BEFORE).for_each(|_| count.recv_timeout(PATIENCE).expect("they are answered"));
    // One whose second half comes when the server has stopped to listen: it was taken on before.
    let begun = json!({"experiment": "busy", "name": "begun"});
    let status = client.send_with_pause("POST", "runs", &begun, || {
        // Connections are accepted in their order.
        client.get("runs?page_size=1").expect(200);
        ask_to_end(&server);
        let host = address.strip_prefix("http://").expect("without TLS");
        let refuses = || std::net::TcpStream::connect(host).err().map(drop).ok_or("it listens");
        await_that(PATIENCE, refuses);
    });
    assert_eq!(status, 201, "what was begun is answered");
    let end = server.await_end(END_MAX).expect("it ends in time");
    assert!(end.success(), "{end}");

    let mut seen = Seen::default();
    for caller in callers {
        let Seen { answered, refused, cut } = caller.join().expect("a caller");
        seen.answered.extend(answered);
        seen.refused.extend(refused);
        seen.cut.extend(cut);
    }
    seen.answered.insert("begun".to_owned());
    server.restart();
    let runs = server.client().list("runs?experiment=busy", "runs");
    let made: BTreeSet<String> = runs.iter().filter_map(|run| run["name"].as_str().map(str::to_owned)).collect();
    let unanswered: Vec<_> = made.difference(&seen.answered).collect();
    assert!(unanswered.is_empty(), "done and not answered: {unanswered:?}; cut off: {:?}", seen.cut);
    let lost: Vec<_> = seen.answered.difference(&made).collect();
    assert!(lost.is_empty(), "answered and not there: {lost:?}");
    assert!(seen.answered.len() > ANSWERED_BEFORE, "{}", seen.answered.len());
    server.stop();
}
