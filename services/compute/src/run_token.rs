//! The tokens that compute gives out: a run's, which its processes report with, and a node's, which its agent
//! connects with.
//!
//! A run's token is `tlr_<workspace>.<run_id>.<attempt>.<hex mac>`; the MAC is HMAC-SHA256 with the installation's
//! signing key over the three, each on a line. Nothing is stored: whoever has the key can check a token, and make the
//! same one again.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// What a run's token begins with.
pub const RUN_TOKEN_PREFIX: &str = "tlr_";

fn seal(text: &str, signing_key: &[u8; 32]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(signing_key).expect("an HMAC takes keys of any length");
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// The token of a run's attempt.
pub fn mint(workspace: &str, run_id: &str, attempt: u32, signing_key: &[u8; 32]) -> String {
    let mac = seal(&format!("{workspace}\n{run_id}\n{attempt}"), signing_key);
    format!("{RUN_TOKEN_PREFIX}{workspace}.{run_id}.{attempt}.{mac}")
}

/// The secret of a node. It follows from the key, so that a restarted server can start a node's agent again.
pub fn node_token(node_id: &str, signing_key: &[u8; 32]) -> String {
    seal(&format!("node\n{node_id}"), signing_key)
}

/// What is written down of a node's secret.
pub fn hash(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_in_all_that_they_are_sealed_with() {
        // A token of attempt 1 that passes for attempt 2 would defeat the fence.
        let key = [7; 32];
        let token = mint("w", "run_1", 1, &key);
        assert!(token.starts_with("tlr_w.run_1.1.") && token.len() == "tlr_w.run_1.1.".len() + 64);
        let mac = |token: &str| token.rsplit('.').next().unwrap_or_default().to_owned();
        for other in [mint("w", "run_1", 2, &key), mint("v", "run_1", 1, &key), mint("w", "run_1", 1, &[8; 32])] {
            assert_ne!(mac(&token), mac(&other));
        }
        assert_ne!(node_token("node_1", &key), node_token("node_2", &key));
    }
}
