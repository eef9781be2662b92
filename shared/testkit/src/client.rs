//! A client of the REST interface that outlives the server: while that is away, requests are tried again with one
//! Idempotency-Key.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Method;
use runtime::{MachineEntropy, Stopwatch};
use serde_json::Value;
use vocabulary::Entropy;

use crate::events::Events;
use crate::patience::await_that;
use crate::server::announced;

/// How long the server may be away.
const AWAY_PATIENCE: Duration = Duration::from_secs(60);
/// Longer than the longest poll that tests ask for.
const REQUEST_LIMIT: Duration = Duration::from_secs(40);
/// Between two tries of a request.
const AGAIN_PAUSE: Duration = Duration::from_millis(50);
/// How long one poll waits for a change.
const POLL_SECONDS: u32 = 5;

/// A client with a token, bound to a workspace.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::blocking::Client,
    door: Door,
    token: String,
    workspace: String,
}

/// Where the server is.
#[derive(Clone, Debug)]
enum Door {
    /// Where the one is that has announced itself in a data folder.
    Announced(PathBuf),
    At(String),
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Header values by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// What was asked, for messages.
    asked: String,
}

impl Answer {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header; empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    /// The code of a problem; empty when it is none.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// (code, pointer) of each error of a problem, in order.
    pub fn errors(&self) -> Vec<(String, String)> {
        pairs(&self.json()["errors"])
    }

    /// (code, pointer) of each warning.
    pub fn warnings(&self) -> Vec<(String, String)> {
        pairs(&self.json()["warnings"])
    }

    /// The body of an answer with this status.
    ///
    /// # Panics
    /// When the status is another.
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.text());
        self.json()
    }

    /// Checks a refusal.
    ///
    /// # Panics
    /// When status or code are others.
    pub fn refused(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}: {}", self.asked, self.text());
        self.json()
    }
}

fn pairs(list: &Value) -> Vec<(String, String)> {
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let entries = list.as_array().into_iter().flatten();
    entries.map(|entry| (text(entry, "code"), text(entry, "pointer"))).collect()
}

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Sent {
    /// It was answered, with neither 429 nor a fault of the server.
    Answered(Answer),
    /// It has certainly taken no effect: nobody was there to be asked, or it was refused for now.
    Nothing,
    /// Nobody knows whether it has taken effect, or will.
    Unknown,
}

/// A request that is being put together.
#[derive(Debug)]
pub struct Request<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    patience: Duration,
}

/// Without TLS: nobody is trusted, and nothing is read that this machine knows.
pub fn http() -> reqwest::blocking::ClientBuilder {
    // It is not used, and has to be there; another one that was set before would do as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::blocking::Client::builder().tls_certs_only([])
}

impl Client {
    /// A client of the server that has announced itself in a data folder; a new announcement is followed.
    ///
    /// # Panics
    /// When no HTTP client can be made.
    pub fn of_data(data: &Path, token: &str) -> Self {
        let http = http().timeout(REQUEST_LIMIT).build().expect("an HTTP client");
        let door = Door::Announced(data.to_path_buf());
        Self { http, door, token: token.to_owned(), workspace: "default".to_owned() }
    }

    /// A client of whoever answers at an address; each request has a connection of its own.
    ///
    /// # Panics
    /// When no HTTP client can be made.
    pub fn at(url: &str, token: &str) -> Self {
        let http = http().timeout(REQUEST_LIMIT).pool_max_idle_per_host(0).build().expect("an HTTP client");
        Self { http, door: Door::At(url.to_owned()), token: token.to_owned(), workspace: "default".to_owned() }
    }

    /// The same with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// The same in another workspace.
    #[must_use]
    pub fn in_workspace(&self, workspace: &str) -> Self {
        Self { workspace: workspace.to_owned(), ..self.clone() }
    }

    /// A request. A path that starts with `/` is the server's, any other the workspace's.
    ///
    /// # Panics
    /// When the method is none.
    pub fn request(&self, method: &str, path: &str) -> Request<'_> {
        let full = match path.strip_prefix('/') {
            Some(_) => path.to_owned(),
            None => format!("/api/v1/workspaces/{}/{path}", self.workspace),
        };
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = Request {
            client: self,
            method,
            path: full,
            headers: Vec::new(),
            body: Vec::new(),
            patience: AWAY_PATIENCE,
        };
        if !self.token.is_empty() {
            request = request.header("Authorization", &format!("Bearer {}", self.token));
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            request = request.header("Idempotency-Key", &MachineEntropy::default().uuid().simple().to_string());
        }
        request
    }

    /// Reads.
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send()
    }

    /// Posts a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path).json(body).send()
    }

    /// Puts a JSON body.
    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.request("PUT", path).json(body).send()
    }

    /// Changes by a JSON body.
    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.request("PATCH", path).json(body).send()
    }

    /// Deletes.
    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path).send()
    }

    /// All entries of a list, page by page; `field` names the list in the answer.
    pub fn list(&self, path: &str, field: &str) -> Vec<Value> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let (mut all, mut token) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}{joint}page_size=1000&page_token={token}")).expect(200);
            all.extend(page[field].as_array().into_iter().flatten().cloned());
            token = page["next_page_token"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                return all;
            }
        }
    }

    /// Polls something that has a version (a sweep, a cluster, an endpoint, a deployment) until it is as wanted.
    ///
    /// # Panics
    /// When it is not within `limit`.
    pub fn await_version(&self, path: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        let watch = Stopwatch::start();
        let mut seen = self.get(path).expect(200);
        while !wanted(&seen) {
            assert!(watch.elapsed() < limit, "{path} is not as wanted within {} s: {seen}", limit.as_secs());
            let version = seen["version"].as_i64().unwrap_or_default();
            seen = self.get(&format!("{path}?wait={POLL_SECONDS}s&after_version={version}")).expect(200);
        }
        seen
    }

    /// Lets everything that a sweep has decided be decided again; what was compared.
    ///
    /// # Panics
    /// When something comes out otherwise.
    pub fn assert_verified(&self, path: &str) -> Value {
        let verified = self.post(&format!("{path}:verify"), &serde_json::json!({})).expect(200);
        assert_eq!(verified["differences"], serde_json::json!([]), "{path}: {verified}");
        verified
    }

    /// Looks at a run after each of its events until it is as wanted.
    ///
    /// # Panics
    /// When it is not within `limit`.
    pub fn await_run(&self, run: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        let watch = Stopwatch::start();
        let path = format!("runs/{run}");
        // The stream is opened before the first look, so that no change falls between the two.
        let mut events = self.events(&format!("{path}/events"));
        loop {
            let answer = self.get(&path);
            // A trial is proposed before its run exists: the fact is on its way.
            let seen = if answer.status == 404 { answer.json() } else { answer.expect(200) };
            if wanted(&seen) {
                return seen;
            }
            assert!(watch.elapsed() < limit, "{path} is not as wanted within {} s: {seen}", limit.as_secs());
            if events.next_within(Duration::from_secs(1)).is_none() {
                events = self.events(&format!("{path}/events"));
            }
        }
    }

    /// Sends a JSON body that stops after its first bytes until `meanwhile` is done; the status of the answer.
    ///
    /// # Panics
    /// When the server cannot be reached without TLS, or does not answer.
    pub fn send_with_pause(&self, method: &str, path: &str, body: &Value, meanwhile: impl FnOnce()) -> u16 {
        let url = self.address().expect("a server is announced");
        let host = url.strip_prefix("http://").expect("without TLS");
        let (path, body) = (format!("/api/v1/workspaces/{}/{path}", self.workspace), body.to_string());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
            self.token,
            body.len()
        );
        let mut stream = TcpStream::connect(host).expect("a connection");
        let (first, rest) = body.split_at(body.len() / 2);
        stream.write_all(head.as_bytes()).expect("the head");
        // The server says that it has taken the request on and waits for its body.
        let mut taken = Vec::new();
        while !taken.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an interim answer");
            taken.extend(byte);
        }
        stream.write_all(first.as_bytes()).expect("the first half");
        meanwhile();
        stream.write_all(rest.as_bytes()).expect("the second half");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    /// Opens a stream of events.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub fn events(&self, path: &str) -> Events {
        Events::open(self, path)
    }

    pub(crate) fn address(&self) -> Option<String> {
        match &self.door {
            Door::Announced(data) => announced(data).map(|(_, url)| url),
            Door::At(url) => Some(url.clone()),
        }
    }
}

/// No answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) why: String,
    may_have_happened: bool,
}

impl Request<'_> {
    /// Sets a header, in place of one of that name.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes a header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string().into_bytes())
    }

    /// Sets a body; an empty type sends none.
    #[must_use]
    pub fn body(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        if media_type.is_empty() { self } else { self.header("Content-Type", media_type) }
    }

    /// Takes the first answer as it is, and no answer for a failure.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.patience = Duration::ZERO;
        self
    }

    /// Sends; while nobody answers, or with 503, again with the same Idempotency-Key.
    ///
    /// # Panics
    /// When nobody answers for a minute.
    pub fn send(&self) -> Answer {
        let watch = Stopwatch::start();
        await_that(self.patience, || match self.attempt() {
            Ok(answer) if answer.status != 503 || watch.elapsed() >= self.patience => Ok(answer),
            Ok(answer) => Err(format!("{} {}: {}", self.method, self.path, answer.status)),
            Err(error) => Err(format!("{} {}: {error}", self.method, self.path)),
        })
    }

    /// Sends, and again with the same Idempotency-Key until there is an answer or the time is over. Every answer but
    /// 429 and 502 to 504 is one.
    pub fn send_within(&self, patience: Duration) -> Sent {
        let watch = Stopwatch::start();
        let mut may_have_happened = false;
        loop {
            match self.open() {
                Ok(response) if response.status() == 429 => {}
                Ok(response) if !(502..=504).contains(&response.status().as_u16()) => match self.read(response) {
                    Ok(answer) => return Sent::Answered(answer),
                    Err(_) => may_have_happened = true,
                },
                Ok(_) => may_have_happened = true,
                Err(failure) => may_have_happened |= failure.may_have_happened,
            }
            if watch.elapsed() >= patience {
                return if may_have_happened { Sent::Unknown } else { Sent::Nothing };
            }
            std::thread::sleep(AGAIN_PAUSE);
        }
    }

    fn attempt(&self) -> Result<Answer, String> {
        self.read(self.open().map_err(|failure| failure.why)?)
    }

    fn read(&self, response: reqwest::blocking::Response) -> Result<Answer, String> {
        let status = response.status().as_u16();
        let text = |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let body = response.bytes().map_err(|error| error.to_string())?.to_vec();
        Ok(Answer { status, headers, body, asked: format!("{} {}", self.method, self.path) })
    }

    pub(crate) fn open(&self) -> Result<reqwest::blocking::Response, Failure> {
        let nobody = || Failure { why: "no server is announced".to_owned(), may_have_happened: false };
        let url = self.client.address().ok_or_else(nobody)?;
        let mut request = self.client.http.request(self.method.clone(), format!("{url}{}", self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let failure =
            |error: reqwest::Error| Failure { why: error.to_string(), may_have_happened: !error.is_connect() };
        request.body(self.body.clone()).send().map_err(failure)
    }
}
