//! Run tokens: `tlr_<workspace>.<run_id>.<attempt>.<hex mac>`, checked without a look-up.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::RUN_TOKEN_PREFIX;
use super::principal::RunToken;

fn mac(token: &RunToken, signing_key: &[u8; 32]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(signing_key).expect("an HMAC takes keys of any length");
    mac.update(format!("{}\n{}\n{}", token.workspace, token.run_id, token.attempt).as_bytes());
    mac
}

/// The token of an attempt.
pub fn mint_run_token(token: &RunToken, signing_key: &[u8; 32]) -> String {
    let mac = hex::encode(mac(token, signing_key).finalize().into_bytes());
    format!("{RUN_TOKEN_PREFIX}{}.{}.{}.{mac}", token.workspace, token.run_id, token.attempt)
}

/// What a token says, when its seal is right.
pub fn read_run_token(text: &str, signing_key: &[u8; 32]) -> Option<RunToken> {
    let mut parts = text.strip_prefix(RUN_TOKEN_PREFIX)?.split('.');
    let (workspace, run_id) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let (attempt, seal) = (parts.next()?.parse().ok()?, hex::decode(parts.next()?).ok()?);
    if parts.next().is_some() {
        return None;
    }
    let token = RunToken { workspace, run_id, attempt };
    mac(&token, signing_key).verify_slice(&seal).ok().map(|()| token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sealed_attempt_is_accepted() {
        // An old attempt must not become a new one by editing its token.
        let token = RunToken { workspace: "lab".into(), run_id: "run_1".into(), attempt: 2 };
        let text = mint_run_token(&token, &[7; 32]);
        assert_eq!(read_run_token(&text, &[7; 32]), Some(token));
        assert_eq!(read_run_token(&text, &[8; 32]), None);
        for wrong in [text.replace(".2.", ".3."), text.replace("lab", "lob"), format!("{text}.x"), "tlr_".into()] {
            assert_eq!(read_run_token(&wrong, &[7; 32]), None, "{wrong}");
        }
    }
}
