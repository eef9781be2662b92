//! `trialog feed`: the services' followers, what they could not handle, and what settles it.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::http::{Body, encoded, next_page};
use super::output::{self, List as Rows, View, column, field};
use super::{Client, Failure};

/// Verbs of the feed; all but the first two change what is followed, and need an admin's token.
#[derive(Subcommand)]
pub enum Feed {
    /// List the followers: how far each is, what it has parked, why it halted.
    List {
        #[command(flatten)]
        view: View,
    },
    /// List the facts that followers have parked.
    Parked {
        /// Only this follower, e.g. runs.follow_trials.
        consumer: Option<String>,
        #[command(flatten)]
        view: View,
    },
    /// Handle a parked fact and what waits behind it again.
    Retry(Parked),
    /// Give a parked fact up for ever; what waits behind it goes on.
    Skip(Parked),
    /// Follow another incarnation of a service's log, as a halted follower names it.
    Adopt {
        /// SERVICE@INCARNATION.
        source: String,
        /// Its facts after this position are new; 0 is all of them.
        #[arg(long, default_value_t = 0)]
        from: i64,
    },
}

/// A parked fact.
#[derive(clap::Args)]
pub struct Parked {
    /// The follower, e.g. runs.follow_trials.
    consumer: String,
    /// The fact's position.
    position: i64,
    /// The log that the position counts in, when the follower has parked facts of several.
    #[arg(long)]
    source: Option<String>,
}

/// Runs a verb.
pub async fn feed(client: &Client, command: Feed) -> Result<(), Failure> {
    match command {
        Feed::List { view } => {
            let answer = consumers(client).await?;
            let names =
                ["consumer", "follows", "state", "source", "position", "parked_facts", "parked_lanes", "reason"];
            let columns = names.map(|name| if name == "reason" { column(name).cut() } else { column(name) });
            output::list(client, &answer, Rows::new("consumers", columns.into()), &view)
        }
        Feed::Parked { consumer, view } => list(client, consumer, &view).await,
        Feed::Retry(parked) => {
            let answer = settle(client, "retry", parked).await?;
            output::thing(client, &answer);
            match field(&answer, "outcome").as_str() {
                "parked" => Err(Failure::BadNews(format!("it is still parked: {}", field(&answer, "error")))),
                _ => Ok(()),
            }
        }
        Feed::Skip(parked) => {
            let answer = settle(client, "skip", parked).await?;
            output::thing(client, &answer);
            Ok(())
        }
        Feed::Adopt { source, from } => {
            let body = Body::Json(json!({"source": source, "from": from}));
            let answer = open(client, Method::POST, "/feed:adopt", &body).await?;
            let names = ["consumer", "source", "position"];
            output::list(client, &answer, Rows::new("consumers", names.map(column).into()), &View::default())
        }
    }
}

async fn open(client: &Client, method: Method, path: &str, body: &Body) -> Result<Value, Failure> {
    let answer = client.open(method, path, body).await?;
    client.json(answer).await
}

async fn consumers(client: &Client) -> Result<Value, Failure> {
    open(client, Method::GET, "/feed/consumers", &Body::None).await
}

async fn list(client: &Client, consumer: Option<String>, view: &View) -> Result<(), Failure> {
    let names = match consumer {
        Some(consumer) => vec![consumer],
        None => {
            let all = consumers(client).await?;
            let all = all.get("consumers").and_then(Value::as_array).into_iter().flatten();
            all.map(|consumer| field(consumer, "consumer")).collect()
        }
    };
    let mut parked = Vec::new();
    for name in names {
        parked.extend(pages(client, &name).await?);
    }
    let columns = vec![
        column("consumer"),
        column("position"),
        column("lane"),
        column("type"),
        column("cause"),
        column("error").cut(),
        column("parked").at("parked_at").age(),
    ];
    output::list(client, &json!({ "parked": parked }), Rows::new("parked", columns), view)
}

async fn pages(client: &Client, consumer: &str) -> Result<Vec<Value>, Failure> {
    let (mut parked, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("/feed/parked?consumer={}&page_size=1000&page_token={}", encoded(consumer), encoded(&token));
        let mut page = open(client, Method::GET, &path, &Body::None).await?;
        if let Some(Value::Array(entries)) = page.get_mut("parked").map(Value::take) {
            parked.extend(entries);
        }
        match next_page(&page, &token)? {
            Some(next) => token = next,
            None => return Ok(parked),
        }
    }
}

async fn settle(client: &Client, verb: &str, parked: Parked) -> Result<Value, Failure> {
    let Parked { consumer, position, source } = parked;
    let found = pages(client, &consumer).await?.into_iter().filter(|fact| {
        let same = |wanted: &String| *wanted == field(fact, "source");
        fact.get("position").and_then(Value::as_i64) == Some(position) && source.as_ref().is_none_or(same)
    });
    let found: Vec<Value> = found.collect();
    let [fact] = found.as_slice() else {
        return Err(Failure::Usage(match found.len() {
            0 => format!("{consumer} has parked no fact at position {position}: see `trialog feed parked {consumer}`"),
            _ => format!("{consumer} has parked several facts at position {position}: name the --source"),
        }));
    };
    let body = json!({
        "consumer": consumer, "position": position, "source": fact.get("source"), "partition": fact.get("partition"),
    });
    open(client, Method::POST, &format!("/feed/parked:{verb}"), &Body::Json(body)).await
}
