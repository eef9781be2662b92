//! RFC 6901 pointers, and the dotted form in which messages name a place.

/// The pointer of `key` inside the map at `parent`; `~` and `/` are escaped.
pub fn child(parent: &str, key: &str) -> String {
    format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The pointer of item `index` inside the list at `parent`.
pub fn item(parent: &str, index: usize) -> String {
    format!("{parent}/{index}")
}

/// A part of a pointer as the key that it is of.
pub fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// `/search_space/batch/values/1` as people write it: `search_space.batch.values[1]`.
pub fn dotted(pointer: &str) -> String {
    let mut text = String::with_capacity(pointer.len());
    for part in pointer.split('/').skip(1) {
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            text.push_str(&format!("[{part}]"));
            continue;
        }
        if !text.is_empty() {
            text.push('.');
        }
        let part = unescaped(part);
        // Blanks at its ends, or nothing at all, would not be seen.
        if part.is_empty() || part.contains(|c: char| c.is_whitespace() || c.is_control()) {
            text.push_str(&format!("{part:?}"));
        } else {
            text.push_str(&part);
        }
    }
    if text.is_empty() { "the document".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use crate::{Format, read};

    #[test]
    fn what_is_taken_out_moves_nothing_else() {
        // The next error would be told of another item.
        let mut tree = read(b"{a/b: 1, c: [{d: 1, e: 2}, {d: 3}], f: [1, x], g: {h: 1}}", Format::Yaml).unwrap();
        for pointer in ["/a~1b", "/c/0/d", "/f/1", "/g/h", "/g/none/x", "/c/7/d", "/c/1/d/x", ""] {
            tree.remove(pointer);
        }
        assert_eq!(tree.to_json(), serde_json::json!({"c": [{"e": 2}, {"d": 3}], "g": {}}));
    }

    #[test]
    fn pointers_escape_and_read_well() {
        let pointer = super::item(&super::child(&super::child("", "a/b~c"), "values"), 1);
        assert_eq!(pointer, "/a~1b~0c/values/1");
        assert_eq!(super::dotted(&pointer), "a/b~c.values[1]");
        assert_eq!(super::dotted(""), "the document");
        assert_eq!(super::dotted("/limits/max trials "), "limits.\"max trials \"");
    }
}
