//! Bodies: their type and size are checked before the token, their syntax after it.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use actix_web::{FromRequest, HttpRequest};
use bytes::{Bytes, BytesMut};
use documents::{Field, Findings, Format, Node};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use vocabulary::Problem;

use super::{Pace, Refusal, shape};

/// Largest document.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// Largest batch of metric points.
pub const METRICS_BYTES_MAX: usize = 4 << 20;

/// Largest table of finished trials: with it a message to `sweeps` stays below 8 MiB.
pub const IMPORT_BYTES_MAX: usize = 7 << 20;

/// A document or a message.
pub type Document = Body<DOCUMENT_BYTES_MAX>;
/// A table of finished trials.
pub type ImportBody = Body<IMPORT_BYTES_MAX>;
/// A batch of metric points.
pub type MetricsBody = Body<METRICS_BYTES_MAX>;

/// A JSON or YAML body of at most `LIMIT` bytes. Put it before `Call` in a handler: what is wrong with the transport
/// answers first.
#[derive(Debug)]
pub struct Body<const LIMIT: usize> {
    /// The body as it came.
    pub bytes: Bytes,
    /// Its language; JSON when there is no body.
    pub format: Format,
    query: String,
}

impl<const LIMIT: usize> Body<LIMIT> {
    /// The format as services name it.
    pub fn format_name(&self) -> String {
        match self.format {
            Format::Json => "json".to_owned(),
            Format::Yaml => "yaml".to_owned(),
        }
    }

    /// The hash of what was asked: the same key with another body or query is refused.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.query.as_bytes());
        hash.update(b"\n");
        hash.update(&self.bytes);
        hash.finalize().into()
    }

    /// [`Body::hash`] where it matters: without an Idempotency-Key nothing is compared.
    pub fn hash_if_keyed(&self, request: &HttpRequest) -> [u8; 32] {
        if request.headers().contains_key("idempotency-key") { self.hash() } else { [0; 32] }
    }

    /// The document as a tree of a map.
    ///
    /// # Errors
    /// 400 for syntax and duplicate keys, 413 for too many values, 422 for what is no map, 429 when too many long
    /// bodies are read.
    pub async fn tree(&self) -> Result<Node, Problem> {
        let tree = self.read(documents::read).await??;
        let findings = Findings::new();
        let is_map = Field::root(&tree, &findings).entries().map(drop);
        findings.finish(is_map)?;
        Ok(tree)
    }

    /// What `read` makes of the bytes, where reading them holds nobody up.
    ///
    /// # Errors
    /// 429 when too many long bodies are read.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&[u8], Format) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let (bytes, format) = (self.bytes.clone(), self.format);
        runtime::reading::body(bytes.len(), move || read(&bytes, format)).await
    }

    /// The body as a message; an empty body is the message's default.
    ///
    /// # Errors
    /// 400 for syntax, duplicate keys and unknown fields, 413 for too many values, 422 for values of the wrong type,
    /// 429 when too many long bodies are read.
    pub async fn message<M: DeserializeOwned + ToSchema + Default + Send + 'static>(&self) -> Result<M, Problem> {
        self.read(message).await?
    }

    /// The same where people may write some of it in another form, and where all that is wrong is answered together:
    /// `form` gives it the form that the message has, and what was found so far comes with the message. What is of the
    /// wrong type is left out of it.
    ///
    /// # Errors
    /// 400 for syntax and duplicate keys, 413 and 429 as for [`Body::message`]; what is wrong where no message can be
    /// made of the rest.
    pub async fn draft<M: DeserializeOwned + ToSchema + Default + Send + 'static>(
        &self,
        form: fn(&mut Node, &Findings),
    ) -> Result<(M, Findings), Problem> {
        self.read(move |bytes, format| draft(bytes, format, form)).await?
    }
}

/// See [`Body::message`].
fn message<M: DeserializeOwned + ToSchema + Default>(bytes: &[u8], format: Format) -> Result<M, Problem> {
    if bytes.is_empty() {
        return Ok(M::default());
    }
    let tree = documents::read(bytes, format)?;
    shape::check(&tree, &M::name())?;
    taken(&tree)
}

/// See [`Body::draft`].
fn draft<M: DeserializeOwned + ToSchema + Default>(
    bytes: &[u8],
    format: Format,
    form: fn(&mut Node, &Findings),
) -> Result<(M, Findings), Problem> {
    let findings = Findings::new();
    if bytes.is_empty() {
        return Ok((M::default(), findings));
    }
    let mut tree = documents::read(bytes, format)?;
    form(&mut tree, &findings);
    let misshapen = shape::find(&tree, &M::name());
    misshapen.pointers().iter().for_each(|pointer| tree.remove(pointer));
    findings.append(misshapen);
    match taken(&tree) {
        Ok(message) => Ok((message, findings)),
        Err(problem) => {
            findings.finish(Some(()))?;
            Err(problem)
        }
    }
}

/// A body as a message. Its form was checked by what is published of it; what that does not rule out is refused here.
///
/// # Errors
/// 422 BadValue.
pub fn taken<M: DeserializeOwned>(tree: &Node) -> Result<M, Problem> {
    serde_json::from_value(tree.to_json()).map_err(|error| Problem::invalid("", "BadValue", error.to_string()))
}

impl<const LIMIT: usize> FromRequest for Body<LIMIT> {
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refusal>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let format = match transport(request, LIMIT) {
            Ok(format) => format,
            Err(problem) => return Box::pin(std::future::ready(Err(Refusal(problem)))),
        };
        let query = request.query_string().to_owned();
        let payload = payload.take();
        Box::pin(async move { Ok(Self { bytes: collect(payload, LIMIT, Pace::default()).await?, format, query }) })
    }
}

/// Bytes of any type, at most [`METRICS_BYTES_MAX`].
#[derive(Debug)]
pub struct RawBody {
    /// The body as it came.
    pub bytes: Bytes,
}

impl RawBody {
    /// The hash of what was asked.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }
}

impl FromRequest for RawBody {
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refusal>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if let Some(length) = length_of(request).filter(|length| *length > METRICS_BYTES_MAX) {
            return Box::pin(std::future::ready(Err(Refusal(too_large(length, METRICS_BYTES_MAX)))));
        }
        let payload = payload.take();
        Box::pin(async move { Ok(Self { bytes: collect(payload, METRICS_BYTES_MAX, Pace::default()).await? }) })
    }
}

fn length_of(request: &HttpRequest) -> Option<usize> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What can be refused before the first byte of the body.
fn transport(request: &HttpRequest, limit: usize) -> Result<Format, Problem> {
    let headers = request.headers();
    let length = length_of(request);
    if let Some(length) = length.filter(|length| *length > limit) {
        return Err(too_large(length, limit));
    }
    if length.unwrap_or(0) == 0 && !headers.contains_key(TRANSFER_ENCODING) {
        return Ok(Format::Json);
    }
    Format::of_content_type(headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()))
}

async fn collect(mut payload: Payload, limit: usize, mut pace: Pace) -> Result<Bytes, Problem> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = pace.next(&mut payload).await? {
        if bytes.len() + chunk.len() > limit {
            return Err(too_large(bytes.len() + chunk.len(), limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

fn too_large(length: usize, limit: usize) -> Problem {
    Problem::new(413, "TooLarge", format!("the body has {length} bytes or more, limit {limit}: send less at once"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::error::PayloadError;
    use futures_util::{Stream, StreamExt, stream};

    use super::*;

    /// Published as one of our messages, and taken as something else.
    #[derive(Debug, Default, serde::Deserialize, ToSchema)]
    #[schema(as = AskTrialsRequest)]
    struct Odd {
        count: bool,
    }

    #[test]
    fn what_the_published_form_does_not_rule_out_is_refused_all_the_same() {
        let read = |text: &str| message::<Odd>(text.as_bytes(), Format::Json);
        assert!(!read("").unwrap().count);
        let problem = read("{\"count\": 3}").unwrap_err();
        assert_eq!((problem.status, problem.errors[0].code.as_str()), (422, "BadValue"));
        assert!(problem.errors[0].message.contains("expected a boolean"), "{problem}");
    }

    #[actix_web::test]
    async fn a_body_that_stands_still_does_not_hold_its_place() {
        let pace = || Pace::of(Duration::from_millis(30), Duration::from_secs(600));
        let begun = || stream::iter([Ok(Bytes::from_static(b"{"))]);
        let payload =
            |body: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>| Payload::Stream { payload: body };
        let stands = payload(Box::pin(begun().chain(stream::pending())));
        let cut = collect(stands, DOCUMENT_BYTES_MAX, pace()).await.unwrap_err();
        assert_eq!((cut.status, cut.code.as_str()), (408, "SlowBody"));
        assert_eq!(collect(payload(Box::pin(begun())), 1, pace()).await.unwrap(), "{");
    }
}
