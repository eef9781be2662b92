//! The frames between the router and a replica: a big-endian u32 with the length of a JSON header, the header, and a
//! body whose length the header names. One connection carries one request at a time.

use std::io;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest header that is read: error texts of models are in it.
const HEADER_BYTES_MAX: usize = 1 << 20;
/// Longest answer of a model that is passed on.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What is asked of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The body as it is to `run`.
    Score,
    /// The body in one of the forms of the MLflow scoring protocol.
    Invocations,
}

/// The header of a request.
#[derive(Debug, Serialize, Deserialize)]
pub struct RequestHeader {
    /// The request id.
    pub id: String,
    /// What is asked.
    pub kind: Kind,
    /// Milliseconds that the router will wait for the answer.
    pub deadline_ms: u64,
    /// As the client sent it.
    pub content_type: String,
    /// How the client takes NaN and infinities; `None` = not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub non_finite: Option<NonFinite>,
    /// Bytes of the body.
    pub length: usize,
}

/// How a client takes numbers that JSON does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NonFinite {
    /// As the texts NaN, Infinity and -Infinity.
    Text,
}

/// The header of an answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AnswerHeader {
    /// The request's id.
    pub id: String,
    /// `ok` or `error`.
    pub status: String,
    /// What the model said when it failed.
    pub error: Option<String>,
    /// In one word, e.g. the name of the exception.
    pub reason: Option<String>,
    /// The status that the model wants to be told, when it has one.
    pub code: Option<u16>,
    /// Of the body.
    pub content_type: Option<String>,
    /// Bytes of the body.
    pub length: usize,
}

/// Why no answer came.
#[derive(Debug)]
pub enum Broken {
    /// Not one byte of an answer came: the request may be tried elsewhere.
    Before(io::Error),
    /// The answer broke off or makes no sense.
    Within(io::Error),
}

/// A request as it goes over the wire: the frame's head, and the body apart so that it is not copied.
pub fn head(header: &RequestHeader) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(header)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    let mut head = Vec::with_capacity(4 + json.len());
    head.extend_from_slice(&length.to_be_bytes());
    head.extend_from_slice(&json);
    Ok(head)
}

/// Sends a request and waits for its answer.
///
/// # Errors
/// See [`Broken`]. The connection is not to be used again then.
pub async fn exchange<S>(stream: &mut S, header: &RequestHeader, body: &Bytes) -> Result<(AnswerHeader, Bytes), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = head(header).map_err(Broken::Before)?;
    let send = async {
        stream.write_all(&head).await?;
        stream.write_all(body).await?;
        stream.flush().await
    };
    send.await.map_err(Broken::Before)?;
    let mut length = [0; 4];
    let first = stream.read(&mut length).await.map_err(Broken::Before)?;
    if first == 0 {
        return Err(Broken::Before(io::ErrorKind::UnexpectedEof.into()));
    }
    read_rest(stream, length, first, &header.id).await.map_err(Broken::Within)
}

async fn read_rest<S: AsyncRead + Unpin>(
    stream: &mut S,
    mut length: [u8; 4],
    first: usize,
    id: &str,
) -> io::Result<(AnswerHeader, Bytes)> {
    stream.read_exact(&mut length[first..]).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > HEADER_BYTES_MAX {
        return Err(io::Error::other(format!("a header of {length} bytes is longer than {HEADER_BYTES_MAX}")));
    }
    let mut json = vec![0; length];
    stream.read_exact(&mut json).await?;
    let header: AnswerHeader = serde_json::from_slice(&json)?;
    if header.id != id {
        return Err(io::Error::other(format!("an answer to '{}' came instead of one to '{id}'", header.id)));
    }
    if header.length > ANSWER_BYTES_MAX {
        return Err(io::Error::other(format!(
            "an answer of {} bytes is longer than {ANSWER_BYTES_MAX}",
            header.length
        )));
    }
    let mut body = vec![0; header.length];
    stream.read_exact(&mut body).await?;
    Ok((header, body.into()))
}
