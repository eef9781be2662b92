//! Pages of lists.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

/// A page size that was sent. The services take 0 for absent, as all numbers of the wire.
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    match i32::deserialize(deserializer)? {
        0 => Err(D::Error::custom("page_size 0 must be in 1..=1000; leave it out for 100")),
        size => Ok(size),
    }
}

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Entries of the page, 1 to 1000; 100 when absent.
    #[serde(default, deserialize_with = "size")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub page_size: i32,
    /// `next_page_token` of the page before.
    #[serde(default)]
    pub page_token: String,
}
