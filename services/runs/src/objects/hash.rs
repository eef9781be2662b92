//! The name of an object: the SHA-256 of its content.

use object_store::path::Path;
use vocabulary::Problem;

/// Hexadecimal digits of a SHA-256.
const HASH_DIGITS: usize = 64;

/// The folder of objects in a store.
pub(super) const SHELVES: &str = "sha256";

/// A hash in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hash(pub(super) String);

impl Hash {
    /// Reads 64 hexadecimal digits, with or without `sha256:` before them.
    ///
    /// # Errors
    /// 422 when the text is something else.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if digits.len() == HASH_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(digits.to_ascii_lowercase()));
        }
        Err(Problem::invalid("/sha256", "BadHash", format!("sha256 {text:?}: {HASH_DIGITS} hexadecimal digits")))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where it is in the store.
    pub(crate) fn path(&self) -> Path {
        Path::from_iter([SHELVES, &self.0[..2], &self.0])
    }
}
