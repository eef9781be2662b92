//! Requests to the server, patient with one that is away.

use std::time::Duration;

use documents::Node;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use runtime::{Backoff, Stopwatch};
use serde_json::Value;
use vocabulary::{Entropy, Problem};

use super::connect::{self, Target};
use super::format::Format;
use super::{Common, Failure};

/// How often a request is tried when the server is away or overloaded; writes carry an idempotency key, so that this
/// is safe.
const TRIES: u32 = 5;
const WAIT_MIN: Duration = Duration::from_millis(300);
const WAIT_MAX: Duration = Duration::from_secs(3);
/// For how long whoever follows something waits for a server that is away.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a server, with the options of the command line.
pub struct Client {
    http: reqwest::Client,
    target: Target,
    format: Format,
}

/// What a request carries.
pub enum Body {
    /// Nothing.
    None,
    /// A JSON document.
    Json(Value),
    /// A document as it was written, with its content type.
    Text(&'static str, Vec<u8>),
}

impl Client {
    /// Finds the server; nothing is sent yet.
    pub fn connect(common: &Common) -> Result<Self, Failure> {
        let target = connect::find(common)?;
        let http = trusting(reqwest::Client::builder(), &target)?
            .user_agent(concat!("trialog/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(Self { http, target, format: common.format() })
    }

    /// What to print.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The workspace in force.
    pub fn workspace(&self) -> &str {
        &self.target.workspace
    }

    /// Reads below the workspace.
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(Method::GET, path, &Body::None).await
    }

    /// Reads below the workspace as a document, whose order is kept.
    pub async fn get_document(&self, path: &str) -> Result<Node, Failure> {
        let path = format!("/workspaces/{}/{path}", encoded(self.workspace()));
        let response = self.open(Method::GET, &path, &Body::None).await?;
        let bytes = self.whole(response).await?;
        documents::read(&bytes, documents::Format::Json).map_err(|problem| Failure::Refused(Box::new(problem)))
    }

    /// Reads below the workspace, and again while the server is away for a while.
    pub async fn get_patiently(&self, path: &str) -> Result<Value, Failure> {
        let mut patience = Patience::new();
        loop {
            match self.get(path).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => patience.wait(failure).await?,
            }
        }
    }

    /// Reads every page of a list below the workspace; `field` names the list in the answer.
    pub async fn get_all(&self, path: &str, field: &str) -> Result<Value, Failure> {
        self.all_pages(&format!("/workspaces/{}/{path}", encoded(self.workspace())), field).await
    }

    /// The same below `/api/v1`, for a list that belongs to no workspace.
    pub async fn all_pages(&self, path: &str, field: &str) -> Result<Value, Failure> {
        let mut all = Vec::new();
        let mut token = String::new();
        loop {
            let joint = if path.contains('?') { '&' } else { '?' };
            let path = format!("{path}{joint}page_size=1000&page_token={}", encoded(&token));
            let mut page = self.send_to(Method::GET, &path, &Body::None).await?;
            if let Some(Value::Array(entries)) = page.get_mut(field).map(Value::take) {
                all.extend(entries);
            }
            match next_page(&page, &token)? {
                Some(next) => token = next,
                None => return Ok(serde_json::json!({ field: all })),
            }
        }
    }

    /// Sends below the workspace and reads the answer.
    pub async fn send(&self, method: Method, path: &str, body: &Body) -> Result<Value, Failure> {
        self.send_to(method, &format!("/workspaces/{}/{path}", encoded(self.workspace())), body).await
    }

    async fn send_to(&self, method: Method, path: &str, body: &Body) -> Result<Value, Failure> {
        let response = self.open(method, path, body).await?;
        self.json(response).await
    }

    /// Reads an answer that is JSON; of nothing, `null`.
    pub async fn json(&self, response: Response) -> Result<Value, Failure> {
        let bytes = self.whole(response).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| Failure::NoServer(format!("the answer is not JSON: {error}")))
    }

    /// Reads an answer that is kept in memory.
    async fn whole(&self, response: Response) -> Result<Vec<u8>, Failure> {
        let is_too_long = response.content_length().is_some_and(|length| length > ANSWER_BYTES_MAX as u64);
        let at_most = if is_too_long { 0 } else { ANSWER_BYTES_MAX };
        let (bytes, is_whole) = begin(response, at_most).await.map_err(|error| self.gone(&error))?;
        if !is_whole {
            let limit = ANSWER_BYTES_MAX >> 20;
            let url = &self.target.url;
            return Err(Failure::Endless(format!(
                "the answer of {url} has more than {limit} MiB, which no answer of a Trialog server has; is it one?"
            )));
        }
        Ok(bytes)
    }

    /// Sends below `/api/v1` and hands out the answer itself. Tried again while the server is away or says "not now".
    pub async fn open(&self, method: Method, path: &str, body: &Body) -> Result<Response, Failure> {
        let url = format!("{}/api/v1{path}", self.target.url);
        let key = runtime::MachineEntropy::default().uuid().simple().to_string();
        let mut backoff = Backoff::new(WAIT_MIN, WAIT_MAX);
        for left in (0..TRIES).rev() {
            let answer = self.request(method.clone(), &url, &key, body).send().await;
            match answer {
                Ok(response) if !is_for_now(response.status()) || left == 0 => return checked(response).await,
                Ok(_) => {}
                Err(error) if left == 0 || !error.is_connect() => return Err(self.gone(&error)),
                Err(_) => {}
            }
            backoff.wait().await;
        }
        Err(Failure::NoServer(format!("no answer from {}", self.target.url)))
    }

    /// Scores: the headers that name the answer's origin, and the answer.
    pub async fn score(
        &self,
        endpoint: &str,
        verb: &str,
        deployment: Option<&str>,
        bytes: Vec<u8>,
    ) -> Result<(String, String), Failure> {
        let (workspace, endpoint) = (encoded(self.workspace()), encoded(endpoint));
        let url = format!("{}/endpoints/{workspace}/{endpoint}/{verb}", self.target.url);
        let mut request =
            self.http.post(url).bearer_auth(&self.target.token).header("Content-Type", "application/json");
        if let Some(name) = deployment {
            request = request.header("trialog-deployment", name);
        }
        let response = checked(request.body(bytes).send().await.map_err(|error| self.gone(&error))?).await?;
        let named = ["x-request-id", "trialog-deployment", "trialog-model-version"];
        let header = |name: &&str| response.headers().get(*name)?.to_str().ok().map(|value| format!("{name}: {value}"));
        let headers = named.iter().filter_map(header).collect::<Vec<_>>().join("  ");
        Ok((headers, String::from_utf8_lossy(&self.whole(response).await?).into_owned()))
    }

    /// Opens an answer below the workspace that is read as it comes, with one more header where there is one.
    pub async fn stream(&self, path: &str, header: Option<(&'static str, String)>) -> Result<Response, Failure> {
        let url = format!("{}/api/v1/workspaces/{}/{path}", self.target.url, encoded(self.workspace()));
        let mut request = self.request(Method::GET, &url, "", &Body::None);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        checked(request.send().await.map_err(|error| self.gone(&error))?).await
    }

    fn request(&self, method: Method, url: &str, key: &str, body: &Body) -> RequestBuilder {
        let writes = method != Method::GET && method != Method::HEAD;
        let mut request = self.http.request(method, url);
        if !self.target.token.is_empty() {
            request = request.bearer_auth(&self.target.token);
        }
        if writes {
            request = request.header("Idempotency-Key", key);
        }
        match body {
            Body::None => request,
            Body::Json(value) => request.json(value),
            Body::Text(kind, bytes) => request.header("Content-Type", *kind).body(bytes.clone()),
        }
    }

    /// That nobody answers.
    pub fn gone(&self, error: &reqwest::Error) -> Failure {
        Failure::NoServer(gone(&self.target.url, error))
    }
}

/// The token of the page behind this one; `None` behind the last. `asked` is the one that this page was asked for with.
///
/// # Errors
/// When the page leads to itself.
pub fn next_page(page: &Value, asked: &str) -> Result<Option<String>, Failure> {
    match page.get("next_page_token").and_then(Value::as_str).unwrap_or_default() {
        "" => Ok(None),
        next if next == asked => Err(Failure::Endless(format!(
            "the list has no end: the page of next_page_token {next} names that token again; is it a Trialog server?"
        ))),
        next => Ok(Some(next.to_owned())),
    }
}

/// Reads no more than so many bytes of an answer; and whether that is all of it.
async fn begin(mut response: Response, at_most: usize) -> reqwest::Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if chunk.len() > at_most - bytes.len() {
            bytes.extend_from_slice(&chunk[..at_most - bytes.len()]);
            return Ok((bytes, false));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, true))
}

/// Whom the client trusts to have signed the server's certificate.
fn trusting(builder: reqwest::ClientBuilder, target: &Target) -> Result<reqwest::ClientBuilder, Failure> {
    // Another one that was set before would do as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Some(path) = &target.ca_file else {
        let is_secure = target.url.starts_with("https:");
        // Reading all that this machine knows takes longer than most commands.
        return Ok(if is_secure { builder } else { builder.tls_certs_only([]) });
    };
    let wrong = |error: &dyn std::fmt::Display| Failure::Usage(format!("--ca-file {}: {error}", path.display()));
    let text = std::fs::read(path).map_err(|error| wrong(&error))?;
    let known = reqwest::Certificate::from_pem_bundle(&text).map_err(|error| wrong(&error))?;
    if known.is_empty() {
        return Err(wrong(&"there is no certificate in it (PEM)"));
    }
    Ok(builder.tls_certs_only(known))
}

/// That nobody answers, with the innermost reason: what lies around it only says that something failed.
fn gone(url: &str, error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let reason = innermost.to_string();
    let way_out = way_out(url, &reason);
    format!("no answer from {url}: {reason}; {way_out}")
}

/// What to do when nobody answers.
fn way_out(url: &str, reason: &str) -> &'static str {
    let is_secure = url.starts_with("https:");
    // What TLS says to who speaks without it is no HTTP, and the other way round.
    if !is_secure && reason.contains("HTTP version") {
        "it speaks https: write https:// in the address"
    } else if is_secure && reason.contains("InvalidContentType") {
        "it speaks http: write http:// in the address"
    } else if reason.contains("certificate") {
        "name who signed the server's certificate with --ca-file or TRIALOG_CA_FILE"
    } else {
        "is `trialog up` running there?"
    }
}

/// How long nobody has answered whoever follows something.
pub struct Patience {
    since: Stopwatch,
    backoff: Backoff,
}

impl Patience {
    /// Somebody has just answered.
    pub fn new() -> Self {
        Self { since: Stopwatch::start(), backoff: Backoff::new(WAIT_MIN, WAIT_MAX) }
    }

    /// Waits a little before the next try.
    ///
    /// # Errors
    /// The failure itself when it is one for good, or when nobody has answered for too long.
    pub async fn wait(&mut self, failure: Failure) -> Result<(), Failure> {
        let passes = match &failure {
            Failure::NoServer(_) => true,
            Failure::Refused(problem) => problem.passes_by_itself(),
            Failure::Usage(_) | Failure::Endless(_) | Failure::BadNews(_) => false,
        };
        if !passes || self.since.elapsed() >= PATIENCE {
            return Err(failure);
        }
        self.backoff.wait().await;
        Ok(())
    }
}

fn is_for_now(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE
}

/// The largest answer that is kept in memory: a page of the largest lists has a few MiB. Logs, events and downloads are
/// passed on as they come.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// The largest refusal that is read.
const REFUSAL_BYTES_MAX: usize = 1 << 20;
/// Characters that are shown of an answer that is none of ours.
const FOREIGN_MAX: usize = 500;

async fn checked(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let bytes = begin(response, REFUSAL_BYTES_MAX).await.map(|(bytes, _)| bytes).unwrap_or_default();
    let problem = serde_json::from_slice(&bytes).unwrap_or_else(|_| {
        let begins: String = String::from_utf8_lossy(&bytes).chars().take(FOREIGN_MAX).collect();
        Problem::new(status.as_u16(), "ForeignAnswer", format!("what answered is no Trialog server: {begins}"))
    });
    Err(Failure::Refused(Box::new(problem)))
}

/// What RFC 3986 does not leave unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text inside a path or a query.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Common;
    use super::{ANSWER_BYTES_MAX, Client, Failure, REFUSAL_BYTES_MAX, begin, checked, next_page, way_out};

    /// An answer that is no longer than asked for: whoever reads on is seen to.
    fn answer(status: u16, length: usize) -> reqwest::Response {
        http::Response::builder().status(status).body(vec![0_u8; length]).unwrap().into()
    }

    #[tokio::test]
    async fn an_answer_without_an_end_ends_the_command_and_not_its_memory() {
        let common = Common { url: Some("http://lab".to_owned()), token: Some("t".to_owned()), ..Common::default() };
        let client = Client::connect(&common).unwrap_or_else(|failure| panic!("{failure:?}"));
        let failure = client.json(answer(200, ANSWER_BYTES_MAX + 1)).await.unwrap_err();
        assert_eq!(failure.exit_code(), 3);
        let Failure::Endless(text) = failure else { panic!("{failure:?}") };
        assert!(text.starts_with("the answer of http://lab has more than 256 MiB"), "{text}");
        assert_eq!(begin(answer(200, 5), 5).await.unwrap(), (vec![0; 5], true));
        assert_eq!(begin(answer(200, 6), 5).await.unwrap(), (vec![0; 5], false));
        let Err(Failure::Refused(problem)) = checked(answer(500, REFUSAL_BYTES_MAX + 1)).await else { panic!("taken") };
        assert_eq!(problem.code, "ForeignAnswer");
    }

    #[test]
    fn a_page_that_leads_to_itself_is_no_list() {
        // List and download went on for ever, and kept every page.
        let page = json!({"next_page_token": "a"});
        assert_eq!(next_page(&page, "").unwrap().as_deref(), Some("a"));
        assert_eq!(next_page(&json!({"next_page_token": ""}), "a").unwrap(), None);
        let failure = next_page(&page, "a").unwrap_err();
        assert_eq!(failure.exit_code(), 3);
        let Failure::Endless(text) = failure else { panic!("{failure:?}") };
        assert!(text.starts_with("the list has no end: the page of next_page_token a names"), "{text}");
    }

    #[tokio::test]
    async fn what_is_no_answer_of_ours_is_shown_as_it_came() {
        // Of a proxy's page only the status was left.
        let page = format!("<html>no route to host{}", "x".repeat(1000));
        let response = http::Response::builder().status(502).body(page).unwrap();
        let Err(Failure::Refused(problem)) = checked(response.into()).await else { panic!("it is taken") };
        assert_eq!((problem.status, problem.code.as_str()), (502, "ForeignAnswer"));
        assert!(problem.detail.starts_with("what answered is no Trialog server: <html>no route to host"), "{problem}");
        assert!(problem.detail.len() < 600, "not all of it");
    }

    #[test]
    fn who_speaks_another_language_is_said_to() {
        // It was asked whether the server is running, which it was.
        let said = |url, reason| way_out(url, reason);
        assert!(said("http://lab:8443", "invalid HTTP version parsed").starts_with("it speaks https:"));
        let corrupt = "received corrupt message of type InvalidContentType";
        assert!(said("https://lab:8080", corrupt).starts_with("it speaks http:"));
        assert!(said("https://lab:8443", "invalid peer certificate: UnknownIssuer").contains("--ca-file"));
        assert!(said("http://lab:8080", "Connection refused (os error 111)").contains("running there?"));
    }
}
