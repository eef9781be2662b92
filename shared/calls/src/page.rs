//! Pages of lists: as many entries as were asked for, as far as they fit into one message.

use prost::Message;
use tonic::Status;
use vocabulary::Problem;

/// Entries of a page when the caller names no number, and the most that it may name.
pub const PAGE_SIZE_DEFAULT: i32 = 100;
/// See [`PAGE_SIZE_DEFAULT`].
pub const PAGE_SIZE_MAX: i32 = 1000;
/// Bytes of a page's entries: a message may have twice as many. An entry that is larger comes alone.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// The size and the token of a page, checked.
///
/// # Errors
/// 422 when the size is out of range.
pub fn page(page_size: i32, page_token: &str) -> Result<(i32, Option<String>), Status> {
    let size = if page_size == 0 { PAGE_SIZE_DEFAULT } else { page_size };
    if !(1..=PAGE_SIZE_MAX).contains(&size) {
        let message = format!("page_size {page_size} must be in 1..={PAGE_SIZE_MAX}");
        return Err(contracts::status_of(&Problem::invalid("/page_size", "OutOfRange", message)));
    }
    Ok((size, Some(page_token.to_owned()).filter(|token| !token.is_empty())))
}

/// What a token that no answer has handed out is told.
pub fn bad_token(token: &str) -> Status {
    let message = format!("page_token {token:?} is none of this list's; use next_page_token of the page before");
    contracts::status_of(&Problem::invalid("/page_token", "BadPageToken", message))
}

/// A page of entries that are in memory, each with the token of the page that begins behind it, and the token of the
/// next page; empty behind the last.
pub fn page_of<M: Message>(size: i32, entries: impl IntoIterator<Item = (String, M)>) -> (Vec<M>, String) {
    let (mut page, mut last) = (Page::of(size), String::new());
    for (token, entry) in entries {
        if !page.push(entry) {
            break;
        }
        last = token;
    }
    let (entries, more) = page.finish();
    (entries, if more { last } else { String::new() })
}

/// The entries of a page while it is made.
#[derive(Debug)]
pub struct Page<M> {
    entries: Vec<M>,
    size: usize,
    bytes: usize,
    more: bool,
}

impl<M: Message> Page<M> {
    /// A page of at most so many entries.
    pub fn of(size: i32) -> Self {
        Self { entries: Vec::new(), size: usize::try_from(size).unwrap_or_default(), bytes: 0, more: false }
    }

    /// Takes the next entry; false when the page ends before it.
    pub fn push(&mut self, entry: M) -> bool {
        let bytes = self.bytes + entry.encoded_len();
        self.more = self.entries.len() >= self.size || (bytes > PAGE_BYTES_MAX && !self.entries.is_empty());
        if !self.more {
            self.bytes = bytes;
            self.entries.push(entry);
        }
        !self.more
    }

    /// The page of those entries that are the next ones: one more than were asked for tells whether there are more.
    pub fn fill(size: i32, entries: impl IntoIterator<Item = M>) -> (Vec<M>, bool) {
        let mut page = Self::of(size);
        let _ = entries.into_iter().all(|entry| page.push(entry));
        page.finish()
    }

    /// The entries, and whether there are more behind them.
    pub fn finish(self) -> (Vec<M>, bool) {
        (self.entries, self.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_in_memory_is_read_to_its_end_page_by_page() {
        // Whoever has many nodes saw none of them, or all in one answer that no message holds.
        let all: Vec<(String, String)> = (0..5).map(|place| (place.to_string(), format!("entry {place}"))).collect();
        let (mut read, mut token) = (Vec::new(), String::new());
        loop {
            let behind = all.iter().skip(token.parse::<usize>().map_or(0, |place| place + 1));
            let (page, next) = page_of(2, behind.cloned());
            assert!(page.len() <= 2);
            read.extend(page);
            token = next;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(read, all.iter().map(|(_, entry)| entry.clone()).collect::<Vec<_>>());
        let refused = contracts::problem_of(&bad_token("x\"y"));
        assert!(refused.detail.contains("next_page_token"), "{refused}");
    }

    #[test]
    fn a_page_ends_where_a_message_would_become_too_large() {
        // Its list could not be read from there on: no page token leads past an answer that is none.
        let entries = |count: usize, bytes: usize| vec!["x".repeat(bytes); count];
        let kept = |size, entries: Vec<String>| {
            let (kept, more) = Page::fill(size, entries);
            (kept.len(), more)
        };
        assert_eq!(kept(3, entries(4, 1)), (3, true));
        assert_eq!(kept(3, entries(3, 1)), (3, false));
        assert_eq!(kept(1000, entries(10, 1 << 20)), (3, true));
        assert_eq!(kept(1000, entries(2, 5 << 20)), (1, true), "what is too large by itself comes alone");
        assert_eq!(kept(1000, entries(0, 0)), (0, false));
    }
}
