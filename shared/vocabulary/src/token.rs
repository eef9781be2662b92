//! The tokens that follow from the installation's signing key: a run's, which the processes of one attempt report
//! with, and a node's secret, which its agent proves itself with. Nothing is stored: whoever has the key can check a
//! token, and make the same one again.
//!
//! A run's token is `tlr_<workspace>.<run_id>.<attempt>.<hex mac>`, the MAC HMAC-SHA256 over the three, a line each.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// What a run's token begins with.
pub const RUN_TOKEN_PREFIX: &str = "tlr_";

/// What a run's token says about its bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunToken {
    /// The run's workspace.
    pub workspace: String,
    /// The run's id; a job's in jobs without a run.
    pub run_id: String,
    /// The attempt that the token was made for; the owner of the data refuses it once that attempt is over.
    pub attempt: u32,
}

fn mac(text: &str, signing_key: &[u8; 32]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(signing_key).expect("an HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac
}

fn seal(text: &str, signing_key: &[u8; 32]) -> String {
    hex::encode(mac(text, signing_key).finalize().into_bytes())
}

impl RunToken {
    fn sealed_text(&self) -> String {
        format!("{}\n{}\n{}", self.workspace, self.run_id, self.attempt)
    }

    /// The token as it is handed out.
    pub fn mint(&self, signing_key: &[u8; 32]) -> String {
        let Self { workspace, run_id, attempt } = self;
        format!("{RUN_TOKEN_PREFIX}{workspace}.{run_id}.{attempt}.{}", seal(&self.sealed_text(), signing_key))
    }

    /// What a token says, when its seal is right.
    pub fn read(text: &str, signing_key: &[u8; 32]) -> Option<Self> {
        let mut parts = text.strip_prefix(RUN_TOKEN_PREFIX)?.split('.');
        let (workspace, run_id) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let (attempt, seal) = (parts.next()?.parse().ok()?, hex::decode(parts.next()?).ok()?);
        if parts.next().is_some() {
            return None;
        }
        let token = Self { workspace, run_id, attempt };
        mac(&token.sealed_text(), signing_key).verify_slice(&seal).ok().map(|()| token)
    }
}

/// The secret of a node. It follows from the key, so that a restarted server can start a node's agent again.
pub fn node_secret(node_id: &str, signing_key: &[u8; 32]) -> String {
    seal(&format!("node\n{node_id}"), signing_key)
}

/// Whether this is the secret of the node.
pub fn is_node_secret(node_id: &str, secret: &str, signing_key: &[u8; 32]) -> bool {
    let Ok(seal) = hex::decode(secret) else { return false };
    mac(&format!("node\n{node_id}"), signing_key).verify_slice(&seal).is_ok()
}

/// What is written down of a secret.
pub fn fingerprint(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(workspace: &str, attempt: u32) -> RunToken {
        RunToken { workspace: workspace.into(), run_id: "run_1".into(), attempt }
    }

    #[test]
    fn tokens_differ_in_all_that_they_are_sealed_with() {
        // A token of attempt 1 that passes for attempt 2 would defeat the fence.
        let key = [7; 32];
        let first = token("w", 1).mint(&key);
        assert!(first.starts_with("tlr_w.run_1.1.") && first.len() == "tlr_w.run_1.1.".len() + 64);
        let mac = |token: &str| token.rsplit('.').next().unwrap_or_default().to_owned();
        for other in [token("w", 2).mint(&key), token("v", 1).mint(&key), token("w", 1).mint(&[8; 32])] {
            assert_ne!(mac(&first), mac(&other));
        }
    }

    #[test]
    fn only_the_sealed_attempt_is_accepted() {
        // An old attempt must not become a new one by editing its token.
        let text = token("lab", 2).mint(&[7; 32]);
        assert_eq!(RunToken::read(&text, &[7; 32]), Some(token("lab", 2)));
        assert_eq!(RunToken::read(&text, &[8; 32]), None);
        for wrong in [text.replace(".2.", ".3."), text.replace("lab", "lob"), format!("{text}.x"), "tlr_".into()] {
            assert_eq!(RunToken::read(&wrong, &[7; 32]), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_good_for_its_own_node() {
        // An agent must not be able to speak for another node.
        let secret = node_secret("node_1", &[7; 32]);
        assert_ne!(secret, node_secret("node_2", &[7; 32]));
        assert!(is_node_secret("node_1", &secret, &[7; 32]));
        for (node, given, key) in
            [("node_2", secret.as_str(), [7; 32]), ("node_1", &secret, [8; 32]), ("node_1", "", [7; 32])]
        {
            assert!(!is_node_secret(node, given, &key));
        }
    }
}
