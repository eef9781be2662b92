//! What is read as it comes: logs and events. A stream that is cut goes on behind what has been read; only a server
//! that stays away ends it.

use futures_util::StreamExt;
use serde_json::Value;

use super::http::{Patience, encoded};
use super::output::{self, Format, field};
use super::reasons::RUN_ENDED;
use super::{Client, Failure};

/// Prints a run's logs; with `follow` until the run has ended. `query` says which part of them.
pub async fn logs(client: &Client, run: &str, query: &str, follow: bool) -> Result<(), Failure> {
    read_logs(client, run, query, follow, &mut output::bytes_as_they_are).await
}

async fn read_logs(
    client: &Client,
    run: &str,
    query: &str,
    mut follow: bool,
    write: &mut impl FnMut(&[u8]),
) -> Result<(), Failure> {
    let path = format!("runs/{}", encoded(run));
    let (mut seen, mut patience) = (0_u64, Patience::new());
    loop {
        let part = format!("{path}/logs?follow={follow}&offset={seen}{query}");
        let before = seen;
        let end = pour(client, &part, &mut seen, write).await;
        if seen > before {
            patience = Patience::new();
        }
        match end {
            // Who asks once and hears nothing is told at once.
            Err(failure) if !follow && seen == 0 => return Err(failure),
            Err(failure) => patience.wait(failure).await?,
            Ok(()) if !follow => return Ok(()),
            // A server that stops ends its streams as if all were done.
            Ok(()) => match client.get(&path).await {
                Ok(shown) if RUN_ENDED.contains(&field(&shown, "state").as_str()) => follow = false,
                Ok(_) => patience.wait(Failure::NoServer("the log broke off".to_owned())).await?,
                Err(failure) => patience.wait(failure).await?,
            },
        }
    }
}

/// Hands on what comes, and counts it.
async fn pour(client: &Client, path: &str, seen: &mut u64, write: &mut impl FnMut(&[u8])) -> Result<(), Failure> {
    let mut stream = client.stream(path, None).await?.bytes_stream();
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.map_err(|error| client.gone(&error))?;
        *seen += bytes.len() as u64;
        write(&bytes);
    }
    Ok(())
}

/// Prints events as they come, for ever.
pub async fn events(client: &Client, path: &str, from: Option<&str>) -> Result<(), Failure> {
    let format = client.format();
    let print = move |event: &Value| match format {
        Format::Table | Format::Wide => output::line(&event_line(event)),
        _ => output::line_as_it_is(&event.to_string()),
    };
    if matches!(format, Format::Csv | Format::Name | Format::Yaml) {
        return Err(Failure::Usage("events come as -o table or, a document a line, as -o json".to_owned()));
    }
    let mut last = from.map(str::to_owned);
    let mut patience = Patience::new();
    loop {
        let before = last.clone();
        let end = read_events(client, path, &mut last, &print).await;
        if last != before {
            patience = Patience::new();
        }
        let failure = end.err().unwrap_or_else(|| Failure::NoServer("the events broke off".to_owned()));
        patience.wait(failure).await?;
    }
}

async fn read_events(
    client: &Client,
    path: &str,
    last: &mut Option<String>,
    print: &impl Fn(&Value),
) -> Result<(), Failure> {
    let header = last.clone().map(|id| ("Last-Event-ID", id));
    let mut stream = client.stream(path, header).await?.bytes_stream();
    let mut reader = EventReader::default();
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.map_err(|error| client.gone(&error))?;
        for (id, event) in reader.take(&bytes) {
            print(&event);
            *last = id.or_else(|| last.take());
        }
    }
    Ok(())
}

/// `2026-11-30T12:00:03Z  TrialEnded  sweep-…  trial_index=3 …`; a line has no room for whole documents.
fn event_line(event: &Value) -> String {
    let mut data = event.get("data").cloned().unwrap_or_default();
    if let Some(fields) = data.as_object_mut() {
        fields.retain(|_, value| !value.is_object());
    }
    let data = output::text(&data);
    let data = output::on_one_line(&data);
    let parts = [field(event, "time"), field(event, "type"), field(event, "stream"), data];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

/// Puts server-sent events together from pieces.
#[derive(Default)]
struct EventReader {
    line: Vec<u8>,
    id: Option<String>,
    data: String,
}

impl EventReader {
    /// The events that are whole now, each with its id.
    fn take(&mut self, bytes: &[u8]) -> Vec<(Option<String>, Value)> {
        let mut whole = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).trim_end_matches('\r').to_owned();
            let value = |name: &str| line.strip_prefix(name).map(|rest| rest.trim_start_matches(' ').to_owned());
            if let Some(id) = value("id:") {
                self.id = Some(id);
            } else if let Some(data) = value("data:") {
                self.data.push_str(&data);
            } else if line.is_empty() {
                let data = std::mem::take(&mut self.data);
                whole.extend(serde_json::from_str(&data).ok().map(|event| (self.id.take(), event)));
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::Common;
    use super::*;

    /// Answers one request after another and tells what was asked for; an answer that is too short is cut.
    async fn serve(answers: Vec<&'static str>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let first = String::from_utf8(request).unwrap().lines().next().unwrap().to_owned();
                asked.push(first.split(' ').nth(1).unwrap().rsplit_once("/runs/").unwrap().1.to_owned());
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
            asked
        });
        (url, served)
    }

    #[tokio::test]
    async fn a_log_that_is_cut_goes_on_behind_its_last_byte() {
        // A restart of the server must cost whoever watches a training neither a line nor the command.
        let (url, served) = serve(vec![
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\none\n",
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ntwo\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 19\r\nconnection: close\r\n\r\n{\"state\":\"Running\"}",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 18\r\nconnection: close\r\n\r\n{\"state\":\"Failed\"}",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nlast\n",
        ])
        .await;
        let common = Common { url: Some(url), token: Some("t".to_owned()), ..Common::default() };
        let client = Client::connect(&common).unwrap_or_else(|failure| panic!("{failure:?}"));
        let mut read = Vec::new();
        let end = read_logs(&client, "run_1", "&attempt=1", true, &mut |bytes| read.extend_from_slice(bytes)).await;
        assert!(end.is_ok(), "{end:?}");
        assert_eq!(String::from_utf8(read).unwrap(), "one\ntwo\nlast\n");
        let expected = [
            "run_1/logs?follow=true&offset=0&attempt=1",
            "run_1/logs?follow=true&offset=4&attempt=1",
            "run_1/logs?follow=true&offset=4&attempt=1",
            "run_1",
            "run_1/logs?follow=true&offset=8&attempt=1",
            "run_1",
            "run_1/logs?follow=false&offset=8&attempt=1",
        ];
        assert_eq!(served.await.unwrap(), expected);
    }

    #[test]
    fn events_are_put_together_from_pieces() {
        let text =
            ": hello\n\nid: sweeps=1\ndata: {\"type\": \"A\"}\n\nid: sweeps=2\r\ndata: {\"a\":\r\ndata: 2}\r\n\r\n";
        for size in [1, 7, text.len()] {
            let mut reader = EventReader::default();
            let whole: Vec<_> = text.as_bytes().chunks(size).flat_map(|piece| reader.take(piece)).collect();
            let expected =
                [(Some("sweeps=1".to_owned()), json!({"type": "A"})), (Some("sweeps=2".to_owned()), json!({"a": 2}))];
            assert_eq!(whole, expected, "{size}");
        }
    }
}
