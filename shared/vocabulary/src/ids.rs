//! Typed ids: a readable prefix and 26 Crockford base-32 characters of a UUIDv7, so that they sort by time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of 128 bits in base 32.
pub const BASE32_LENGTH: usize = 26;

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{received:?} is not a {what} id: expected {prefix}<26 base-32 characters>")]
pub struct BadId {
    /// The kind of id that was expected.
    pub what: &'static str,
    /// The prefix that was expected.
    pub prefix: &'static str,
    /// The text as it came.
    pub received: String,
}

/// 26 Crockford base-32 characters of 128 bits.
pub fn base32(bits: u128) -> String {
    (0..BASE32_LENGTH).rev().map(|place| char::from(ALPHABET[((bits >> (5 * place)) & 31) as usize])).collect()
}

/// Reads what [`base32`] wrote; lower case is accepted, as are Crockford's O, I and L. `None` for anything else.
pub fn from_base32(text: &str) -> Option<u128> {
    if text.len() != BASE32_LENGTH || !text.is_ascii() || text.as_bytes()[0] > b'7' {
        return None;
    }
    text.bytes().try_fold(0u128, |bits, byte| {
        let upper = match byte.to_ascii_uppercase() {
            b'O' => b'0',
            b'I' | b'L' => b'1',
            other => other,
        };
        ALPHABET.iter().position(|&digit| digit == upper).map(|digit| (bits << 5) | digit as u128)
    })
}

macro_rules! id {
    ($(#[$meta:meta])* $name:ident, $prefix:literal, $what:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// The id of a UUID.
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }
            /// The UUID inside.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
            /// The UUID as 32 hexadecimal digits: the second spelling, for mlflow clients.
            pub fn hex(self) -> String {
                self.0.simple().to_string()
            }
            /// Reads either spelling.
            ///
            /// # Errors
            /// When the text is neither.
            pub fn parse(text: &str) -> Result<Self, BadId> {
                let bits = match text.strip_prefix($prefix) {
                    Some(rest) => from_base32(rest),
                    None if text.len() == 32 => u128::from_str_radix(text, 16).ok(),
                    None => None,
                };
                bits.map(|bits| Self(Uuid::from_u128(bits)))
                    .ok_or_else(|| BadId { what: $what, prefix: $prefix, received: text.to_owned() })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, base32(self.0.as_u128()))
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                Self::parse(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A run: `run_01J…`.
    RunId, "run_", "run"
);
id!(
    /// A sweep: `sweep_01J…`.
    SweepId, "sweep_", "sweep"
);
id!(
    /// A job: `job_01J…`.
    JobId, "job_", "job"
);
id!(
    /// A node: `node_01J…`.
    NodeId, "node_", "node"
);
id!(
    /// A model version: `ver_01J…`.
    VersionId, "ver_", "version"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_name_the_same_run() {
        // A user who copies the mlflow form of a run id must reach the same run.
        let id = RunId::new(Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_00ff));
        assert_eq!(RunId::parse(&id.to_string()), Ok(id));
        assert_eq!(RunId::parse(&id.hex()), Ok(id));
        assert_eq!(RunId::parse(&id.to_string().to_lowercase()), Ok(id));
        assert!(RunId::parse("run_zz").is_err());
        assert!(RunId::parse(&SweepId::new(id.uuid()).to_string()).is_err());
    }

    #[test]
    fn ids_sort_as_their_uuids_do() {
        let (a, b) = (Uuid::from_u128(1 << 100), Uuid::from_u128(1 << 101));
        assert!(RunId::new(a).to_string() < RunId::new(b).to_string());
    }
}
