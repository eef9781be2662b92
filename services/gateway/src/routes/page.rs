//! Pages of lists.

use serde::Deserialize;
use utoipa::IntoParams;

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub struct PageQuery {
    /// Entries of the page, 1 to 1000; 100 when absent.
    pub page_size: i32,
    /// `next_page_token` of the page before.
    pub page_token: String,
}
