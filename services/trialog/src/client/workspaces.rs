//! `trialog workspace` and `trialog token`.

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::http::{Body, encoded};
use super::output::{self, Format, List as Rows, View, column, field};
use super::{Client, Failure};

/// Verbs of workspaces.
#[derive(Subcommand)]
pub enum Workspace {
    /// Create a workspace.
    Create {
        /// Its name.
        name: String,
        /// Where it is meant to be: a label, which stays.
        #[arg(long, default_value = "")]
        region: String,
    },
    /// List workspaces.
    List {
        #[command(flatten)]
        view: View,
    },
    /// Show a workspace.
    Show {
        /// Its name.
        name: String,
    },
    /// Delete a workspace in which nothing is, with its tokens. Its name is not given again.
    Delete {
        /// Its name.
        name: String,
    },
}

/// Verbs of tokens.
#[derive(Subcommand)]
pub enum Token {
    /// Make a token; its text is shown once.
    Create {
        /// Who it is for: what is done with it is recorded as done by this name.
        name: String,
        /// admin, owner, contributor, reader or scorer.
        #[arg(long, default_value = "contributor")]
        scope: String,
        /// The endpoint of a scorer.
        #[arg(long, default_value = "")]
        endpoint: String,
        /// How long it is good: 90d, 12h. Absent: until it is revoked.
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires_in: Option<i64>,
    },
    /// List the workspace's tokens.
    List {
        /// Those of admins instead, which are good for all workspaces.
        #[arg(long)]
        admin: bool,
        #[command(flatten)]
        view: View,
    },
    /// Revoke a token.
    Delete {
        /// Its id.
        id: String,
        /// It is an admin's.
        #[arg(long)]
        admin: bool,
    },
}

/// `90d`, `12h 30m` in seconds.
fn seconds(text: &str) -> Result<i64, String> {
    // What the reader of times has to say is about its own types; months and years differ in length.
    let wrong = |_: jiff::Error| "write it in days, hours or minutes, like 90d, 12h or 30m".to_owned();
    let span = text.parse::<jiff::Span>().map_err(wrong)?;
    let length = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(wrong)?;
    match length.as_secs() {
        seconds if seconds > 0 => Ok(seconds),
        _ => Err("it must be at least a second; write it like 90d, 12h or 30m".to_owned()),
    }
}

/// Runs a verb.
pub async fn workspace(client: &Client, command: Workspace) -> Result<(), Failure> {
    match command {
        Workspace::Create { name, region } => {
            let path = format!("/workspaces/{}", encoded(&name));
            let answer = client.open(Method::PUT, &path, &Body::Json(json!({ "region": region }))).await;
            let options = [("/name", "NAME"), ("/region", "--region")];
            print(client, answer.map_err(|failure| failure.in_options(&options))?).await
        }
        Workspace::Delete { name } => {
            let path = format!("/workspaces/{}", encoded(&name));
            print(client, client.open(Method::DELETE, &path, &Body::None).await?).await
        }
        Workspace::Show { name } => {
            let answer = client.open(Method::GET, &format!("/workspaces/{}", encoded(&name)), &Body::None).await?;
            print(client, answer).await
        }
        Workspace::List { view } => {
            let answer = client.open(Method::GET, "/workspaces?page_size=1000", &Body::None).await?;
            let value = client.json(answer).await?;
            let columns = vec![column("name"), column("region"), column("created").at("created_at").age()];
            output::list(client, &value, Rows::new("workspaces", columns), &view)
        }
    }
}

async fn print(client: &Client, answer: reqwest::Response) -> Result<(), Failure> {
    let value = client.json(answer).await?;
    output::thing(client, &value);
    Ok(())
}

/// Runs a verb.
pub async fn token(client: &Client, command: Token) -> Result<(), Failure> {
    match command {
        Token::Create { name, scope, endpoint, expires_in } => {
            if client.format() == Format::Name {
                let lost = "-o name would lose the token's text, which is shown once; nothing was done".to_owned();
                return Err(Failure::Usage(lost));
            }
            let body = Body::Json(json!({
                "name": name, "scope": scope, "endpoint": endpoint,
                "expires_in_seconds": expires_in.unwrap_or_default(),
            }));
            let made = client.send(Method::POST, "tokens", &body).await;
            let options = [
                ("/name", "NAME"),
                ("/scope", "--scope"),
                ("/endpoint", "--endpoint"),
                ("/expires_in_seconds", "--expires-in"),
            ];
            let made = made.map_err(|failure| failure.in_options(&options))?;
            output::describe(client, &made, || vec![field(&made, "text")]);
        }
        Token::List { admin, view } => {
            let tokens = match admin {
                true => client.all_pages("/tokens", "tokens").await?,
                false => client.get_all("tokens", "tokens").await?,
            };
            let columns = vec![
                column("token_id"),
                column("name"),
                column("scope"),
                column("endpoint"),
                column("created").at("created_at").age(),
                column("revoked").at("revoked_at").age(),
                column("expires").at("expires_at"),
            ];
            output::list(client, &tokens, Rows::new("tokens", columns), &view)?;
        }
        Token::Delete { id, admin } => {
            let path = format!("tokens/{}", encoded(&id));
            let answer = match admin {
                true => client.json(client.open(Method::DELETE, &format!("/{path}"), &Body::None).await?).await?,
                false => client.send(Method::DELETE, &path, &Body::None).await?,
            };
            output::thing(client, &answer);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn a_time_that_is_none_is_answered_in_words() {
        // It said "using unit 'month' in a span or configuration requires that either a relative reference time ...".
        assert_eq!((seconds("90d"), seconds("12h 30m")), (Ok(90 * 86_400), Ok(45_000)));
        for text in ["3 months", "soon", "1y"] {
            assert_eq!(seconds(text), Err("write it in days, hours or minutes, like 90d, 12h or 30m".to_owned()));
        }
        assert!(seconds("0s").is_err());
    }
}
