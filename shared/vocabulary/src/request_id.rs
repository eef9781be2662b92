//! Request ids of inference: they say by themselves which revision of which deployment answered, so that lineage needs
//! no store of requests. `req_<revision key>_<UUIDv7>`, both in Crockford base 32, the key without leading zeros.

use uuid::Uuid;

use crate::ids::{BASE32_LENGTH, BadId, base32, from_base32};

const PREFIX: &str = "req_";

/// The id of a request that the revision with this key answers. `revision_key` is the revision's position in compute's
/// log, from 1.
pub fn mint(revision_key: i64, id: Uuid) -> String {
    let key = base32(u128::from(revision_key.unsigned_abs()));
    let key = key.trim_start_matches('0');
    format!("{PREFIX}{}_{}", if key.is_empty() { "0" } else { key }, base32(id.as_u128()))
}

/// The revision key and the UUID of a request id.
///
/// # Errors
/// When the text was not made by [`mint`].
pub fn parse(text: &str) -> Result<(i64, Uuid), BadId> {
    read(text).ok_or_else(|| BadId { what: "request", prefix: "req_<revision>_", received: text.to_owned() })
}

fn read(text: &str) -> Option<(i64, Uuid)> {
    let (key, id) = text.strip_prefix(PREFIX)?.split_once('_')?;
    if key.is_empty() || key.len() > BASE32_LENGTH {
        return None;
    }
    let key = from_base32(&format!("{key:0>BASE32_LENGTH$}"))?;
    Some((i64::try_from(key).ok()?, Uuid::from_u128(from_base32(id)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_minted_is_read_again() {
        // Lineage starts from nothing but this text.
        let id = Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_00ff);
        for key in [0, 1, 31, 32, 123_456_789, i64::MAX] {
            let text = mint(key, id);
            assert_eq!(parse(&text), Ok((key, id)), "{text}");
            assert_eq!(parse(&text.to_lowercase()), Ok((key, id)), "{text}");
        }
        assert!(mint(33, id).starts_with("req_11_"));
    }

    #[test]
    fn other_texts_are_refused_in_words() {
        let id = base32(1);
        for text in ["", "req_", "req_1", "req_1_", "req__1", &format!("req__{id}"), &format!("run_1_{id}")] {
            assert!(parse(text).is_err(), "{text}");
        }
        let too_large = format!("req_{}_{id}", base32(u128::MAX));
        assert!(parse(&too_large).unwrap_err().to_string().contains("is not a request id"));
    }
}
