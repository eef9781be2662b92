//! `trialog fork`.

use clap::Args;
use documents::{Node, Tree};
use reqwest::Method;

use super::http::encoded;
use super::{Client, Failure, document, output};

/// Arguments of `trialog fork`.
#[derive(Args)]
pub struct Fork {
    /// The sweep: its name, its id, or the beginning of that.
    sweep: String,
    /// The position in the log up to which the sweep is looked at, as `why` and the event stream show it; or `latest`.
    #[arg(long, value_parser = position)]
    at: Position,
    /// The fork's name.
    #[arg(long)]
    name: Option<String>,
    /// Another seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Change early_termination, limits or search_space: PATH=VALUE, e.g. limits.max_total_trials=60; may be repeated.
    #[arg(long)]
    set: Vec<String>,
}

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    At(i64),
    Latest,
}

fn position(text: &str) -> Result<Position, String> {
    match text {
        "latest" => Ok(Position::Latest),
        number => number.parse().map(Position::At).map_err(|_| format!("{text:?} is neither a position nor latest")),
    }
}

/// Forks a sweep and prints the fork's id and name.
pub async fn fork(client: &Client, arguments: Fork) -> Result<(), Failure> {
    let path = format!("sweeps/{}:fork", encoded(&arguments.sweep));
    let options = [("/at", "--at"), ("/name", "--name"), ("/seed", "--seed")];
    let source = match arguments.set.iter().any(|change| sections(change).next().is_some()) {
        true => Some(client.get_document(&format!("sweeps/{}", encoded(&arguments.sweep))).await?),
        false => None,
    };
    let body = body(&arguments, source.as_ref())?.body();
    let answer = client.send(Method::POST, &path, &body).await;
    let answer = answer.map_err(|failure| failure.in_options(&options))?;
    output::submitted(client, &answer);
    Ok(())
}

/// The section in whose middle a change is made: it goes along as it is in the sweep. Limits are laid over by the
/// server.
fn sections(change: &str) -> impl Iterator<Item = &'static str> {
    let path = change.split_once('=').map(|(path, _)| path.to_owned()).unwrap_or_default();
    ["early_termination", "search_space"]
        .into_iter()
        .filter(move |section| path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.')))
}

fn body(arguments: &Fork, source: Option<&Node>) -> Result<document::Document, Failure> {
    let mut document = document::empty();
    let at = match arguments.at {
        Position::At(at) => Tree::Number(at.to_string()),
        Position::Latest => Tree::Text("latest".to_owned()),
    };
    document.set("at", at)?;
    if let Some(name) = &arguments.name {
        document.set("name", Tree::Text(name.clone()))?;
    }
    if let Some(seed) = arguments.seed {
        document.set("seed", Tree::Number(seed.to_string()))?;
    }
    let spec = source.and_then(|source| source.get("spec"));
    for section in arguments.set.iter().flat_map(|change| sections(change)) {
        if let (Some(there), None) = (spec.and_then(|spec| spec.get(section)), document.get(section)) {
            document.set(section, there.value.clone())?;
        }
    }
    arguments.set.iter().try_for_each(|change| document.set_text(change))?;
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::super::http::Body;
    use super::*;

    #[test]
    fn what_is_not_given_is_not_sent() {
        let sweep = "digits".to_owned();
        let plain = Fork { sweep: sweep.clone(), at: Position::At(812), name: None, seed: None, set: Vec::new() };
        let text = |fork: &Fork| match body(fork, None).unwrap_or_else(|_| panic!("refused")).body() {
            Body::Text(_, text) => String::from_utf8(text).unwrap(),
            _ => panic!("no text"),
        };
        assert_eq!(text(&plain), r#"{"at":812}"#);
        let set = vec!["limits.max_total_trials=60".to_owned(), "early_termination={type: none}".to_owned()];
        let full = Fork { sweep, at: Position::At(812), name: Some("again".to_owned()), seed: Some(u64::MAX), set };
        let expected = [
            r#"{"at":812,"name":"again","seed":18446744073709551615"#,
            r#""limits":{"max_total_trials":60}"#,
            r#""early_termination":{"type":"none"}}"#,
        ];
        assert_eq!(text(&full), expected.join(","));
        assert_eq!(position("latest"), Ok(Position::Latest));
        // A change inside of a section leaves the rest of it, in its order, as it is in the sweep.
        let source = r#"{"spec": {"search_space": {"z": {"type": "uniform", "max_value": 2}, "a": {"type": "choice"}},
            "early_termination": {"type": "asha", "max_resource": 9}}}"#;
        let source = documents::read(source.as_bytes(), documents::Format::Json).unwrap();
        let set = vec!["search_space.z.max_value=3".to_owned(), "limits.timeout_seconds=9".to_owned()];
        let inside = Fork { sweep: "digits".to_owned(), at: Position::Latest, name: None, seed: None, set };
        let Body::Text(_, bytes) = body(&inside, Some(&source)).unwrap_or_else(|_| panic!("refused")).body() else {
            panic!("no text")
        };
        let expected = [
            r#"{"at":"latest","search_space":{"z":{"type":"uniform","max_value":3},"a":{"type":"choice"}}"#,
            r#""limits":{"timeout_seconds":9}}"#,
        ];
        assert_eq!(String::from_utf8(bytes).unwrap(), expected.join(","));
        assert!(position("newest").is_err());
    }
}
