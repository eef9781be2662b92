//! Who may do what: tokens, scopes and the projection that looks them up.

mod directory;
mod policy;
mod principal;

pub use directory::Directory;
pub use policy::check;
pub use principal::{Principal, Scope, UserToken};
pub use vocabulary::token::{RUN_TOKEN_PREFIX, RunToken};

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use contracts::Peers;
use contracts::runs::GetRunRequest;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use vocabulary::{Clock, Problem};

/// What user tokens begin with.
pub const USER_TOKEN_PREFIX: &str = "tlg_";

/// Who sent the request.
///
/// # Errors
/// 401 when the token is absent, of no known form, wrong, revoked or expired; 503 while the tokens are still being
/// read.
pub fn authenticate(
    request: &HttpRequest,
    directory: &Directory,
    signing_key: &[u8; 32],
    now: Timestamp,
) -> Result<Principal, Problem> {
    let token = token_of(request)?;
    if token.starts_with(RUN_TOKEN_PREFIX) {
        return RunToken::read(&token, signing_key)
            .map(Principal::Run)
            .ok_or_else(|| unauthenticated("the run token is wrong; use the one in TRIALOG_TOKEN of the attempt"));
    }
    if !token.starts_with(USER_TOKEN_PREFIX) {
        return Err(unauthenticated(&format!("the token must begin with tlg_ (a user's) or tlr_ (a run's); {WHERE}")));
    }
    if !directory.is_ready() {
        return Err(Problem::unavailable("NotReady", "the tokens are still being read; try again", 1));
    }
    let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    let token = directory
        .token(&hash)
        .ok_or_else(|| unauthenticated(&format!("the token is unknown or was revoked; {WHERE}")))?;
    match token.expires_at {
        Some(end) if end <= now => Err(expired(&token, end)),
        _ => Ok(Principal::User(token)),
    }
}

fn expired(token: &UserToken, end: Timestamp) -> Problem {
    let detail = format!(
        "the {token} expired at {end}: an owner of the workspace makes another one with `trialog token create`; {WHERE}"
    );
    Problem::new(401, "TokenExpired", detail)
}

/// The longest that nobody looks whether a token has expired: a clock that is set is followed within that time.
const EXPIRED_CHECK_MAX: Duration = Duration::from_secs(60);

/// Comes back when the token has expired.
pub async fn until_expired(token: &UserToken, clock: &dyn Clock) {
    let Some(end) = token.expires_at else { return std::future::pending().await };
    while let Ok(left) = Duration::try_from(end.duration_since(clock.now())) {
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(EXPIRED_CHECK_MAX)).await;
    }
}

/// Where a token that will not do may come from.
const WHERE: &str = "look at --token, at TRIALOG_TOKEN and at what `trialog init` has written (.trialog.toml)";

/// How often it is looked whether a run's token still speaks for its run, while a stream is open.
const SUPERSEDED_CHECK: Duration = Duration::from_secs(5);

/// Comes back when the run of a token is at a later attempt. A run that has ended ends its streams by itself.
pub async fn until_superseded(peers: &Peers, token: &RunToken) {
    loop {
        let request = GetRunRequest { workspace: token.workspace.clone(), run_id: token.run_id.clone() };
        if let Ok(run) = peers.runs_client().get_run(request).await
            && run.get_ref().attempt > token.attempt
        {
            return;
        }
        tokio::time::sleep(SUPERSEDED_CHECK).await;
    }
}

fn token_of(request: &HttpRequest) -> Result<String, Problem> {
    let Some(header) = request.headers().get(AUTHORIZATION) else {
        return Err(unauthenticated(
            "no token: send 'Authorization: Bearer TOKEN', or the token as the password of basic auth; the command \
             line takes it from --token, from TRIALOG_TOKEN, or from what `trialog init` has written",
        ));
    };
    let text = header.to_str().map_err(|_| unauthenticated("the Authorization header is not a text"))?;
    let (scheme, value) = text.trim().split_once(' ').unwrap_or((text, ""));
    let token = match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(value.trim().to_owned()),
        "basic" => password_of(value.trim()),
        _ => None,
    };
    token.filter(|token| !token.is_empty()).ok_or_else(|| {
        let rule = "the Authorization header must be 'Bearer TOKEN' or basic auth with the token as password";
        unauthenticated(&format!("{rule}; {WHERE}"))
    })
}

/// The password of a basic-auth value.
fn password_of(encoded: &str) -> Option<String> {
    let text = String::from_utf8(from_base64(encoded)?).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

/// RFC 4648 base 64. Written out: this header is its only use.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

fn unauthenticated(detail: &str) -> Problem {
    Problem::new(401, "Unauthenticated", detail)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn both_schemes_carry_the_token() {
        // mlflow clients only know user name and password.
        for header in ["Bearer tlg_a_b", "bearer  tlg_a_b", "Basic YW55OnRsZ19hX2I="] {
            let request = TestRequest::default().insert_header((AUTHORIZATION, header)).to_http_request();
            assert_eq!(token_of(&request).unwrap(), "tlg_a_b", "{header}");
        }
        for header in ["", "Bearer", "Digest x", "Basic !!!", "Basic YW55"] {
            let request = TestRequest::default().insert_header((AUTHORIZATION, header)).to_http_request();
            assert_eq!(token_of(&request).unwrap_err().status, 401, "{header}");
        }
    }
}
