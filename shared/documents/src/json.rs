//! A strict reader of JSON (RFC 8259) that keeps places and number texts.

use crate::bounds::Bounds;
use crate::{Fault, MAX_NESTING, Node, Tree};

/// Reads one document within its bounds.
pub(crate) fn parse(text: &str, bounds: Bounds<'_>) -> Result<Node, Fault> {
    let mut reader = Reader { bytes: text.as_bytes(), text, at: 0, line: 1, column: 1, bounds };
    reader.document().map_err(|message| reader.bounds.fault(message))
}

struct Reader<'a, 'r> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    line: u32,
    column: u32,
    bounds: Bounds<'r>,
}

impl Reader<'_, '_> {
    fn document(&mut self) -> Result<Node, String> {
        self.blanks();
        if self.peek().is_none() {
            return Err("the body is empty: expected a JSON document".to_owned());
        }
        let document = self.value(0)?;
        self.blanks();
        if self.peek().is_some() { Err(self.expected("the end of the document")) } else { Ok(document) }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn bump(&mut self) {
        match self.bytes[self.at] {
            b'\n' => (self.line, self.column) = (self.line + 1, 1),
            // Continuation bytes of UTF-8 belong to the character before.
            byte if byte & 0xC0 == 0x80 => {}
            _ => self.column += 1,
        }
        self.at += 1;
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.bump();
        }
    }

    fn expected(&self, what: &str) -> String {
        let found = match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            None => ", found the end".to_owned(),
            Some(found) => format!(", found {found:?}"),
        };
        format!("expected {what} at line {} column {}{found}", self.line, self.column)
    }

    fn value(&mut self, depth: usize) -> Result<Node, String> {
        let (line, column) = (self.line, self.column);
        self.bounds.count()?;
        let value = match self.peek() {
            Some(b'{' | b'[') if depth == MAX_NESTING => {
                return Err(format!("nested deeper than {MAX_NESTING} levels at line {line} column {column}"));
            }
            Some(b'{') => self.map(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Tree::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Tree::Bool(true))?,
            Some(b'f') => self.word("false", Tree::Bool(false))?,
            Some(b'n') => self.word("null", Tree::Null)?,
            _ => return Err(self.expected("a value")),
        };
        Ok(Node { value, line, column })
    }

    fn word(&mut self, word: &str, value: Tree) -> Result<Tree, String> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.expected(&format!("'{word}'")));
        }
        word.bytes().for_each(|_| self.bump());
        Ok(value)
    }

    fn list(&mut self, depth: usize) -> Result<Tree, String> {
        self.bump();
        let mut items = Vec::new();
        self.blanks();
        if self.peek() == Some(b']') {
            self.bump();
            return Ok(Tree::List(items));
        }
        loop {
            self.blanks();
            items.push(self.value(depth + 1)?);
            if self.ends_with(b']', "',' or ']'")? {
                return Ok(Tree::List(items));
            }
        }
    }

    /// A list whose items are handed on; an empty one is left.
    fn rows(&mut self, depth: usize) -> Result<Node, String> {
        let (line, column) = (self.line, self.column);
        self.bounds.count()?;
        self.bump();
        self.blanks();
        let mut ends = self.peek() == Some(b']');
        if ends {
            self.bump();
        }
        while !ends {
            self.blanks();
            let held = self.bounds.held();
            let row = self.value(depth + 1)?;
            self.bounds.take(row, held);
            ends = self.ends_with(b']', "',' or ']'")?;
        }
        Ok(Node { value: Tree::List(Vec::new()), line, column })
    }

    fn map(&mut self, depth: usize) -> Result<Tree, String> {
        self.bump();
        let mut entries = Vec::new();
        self.blanks();
        if self.peek() == Some(b'}') {
            self.bump();
            return Ok(Tree::Map(entries));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.expected("a key in double quotes"));
            }
            let key = self.string()?;
            self.blanks();
            if self.peek() != Some(b':') {
                return Err(self.expected("':'"));
            }
            self.bump();
            self.blanks();
            let is_table = self.peek() == Some(b'[') && self.bounds.are_rows(&key, depth);
            let value = if is_table { self.rows(depth + 1)? } else { self.value(depth + 1)? };
            entries.push((key, value));
            if self.ends_with(b'}', "',' or '}'")? {
                return Ok(Tree::Map(entries));
            }
        }
    }

    /// After an item: `true` at the closing bracket, `false` at a comma; both are taken.
    fn ends_with(&mut self, close: u8, what: &str) -> Result<bool, String> {
        self.blanks();
        match self.peek() {
            Some(byte) if byte == close || byte == b',' => {
                self.bump();
                Ok(byte == close)
            }
            _ => Err(self.expected(what)),
        }
    }

    fn number(&mut self) -> Result<Tree, String> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.bump();
        }
        if self.peek() == Some(b'0') {
            self.bump();
            if matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.expected("no digit after a leading 0"));
            }
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.bump();
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.bump();
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.bump();
            }
            self.digits()?;
        }
        Ok(Tree::Number(self.text[start..self.at].to_owned()))
    }

    fn digits(&mut self) -> Result<(), String> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.expected("a digit"));
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.bump();
        }
        Ok(())
    }

    fn string(&mut self) -> Result<String, String> {
        self.bump();
        let mut text = String::new();
        loop {
            let start = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1F)) {
                self.bump();
            }
            text.push_str(&self.text[start..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.bump();
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                None => return Err(self.expected("'\"'")),
                Some(_) => return Err(self.expected("an escape such as \\n for a control character")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        self.bump();
        let plain = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.expected("one of \" \\ / b f n r t u after '\\'")),
        };
        self.bump();
        Ok(plain)
    }

    /// `\uXXXX`, or two of them that make one character beyond the basic plane.
    fn unicode(&mut self) -> Result<char, String> {
        let (line, column) = (self.line, self.column - 1);
        let lone = || format!("a surrogate without its other half at line {line} column {column}");
        let first = self.four_digits()?;
        if !(0xD800..0xE000).contains(&first) {
            return char::from_u32(first).ok_or_else(lone);
        }
        if first >= 0xDC00 || !self.bytes[self.at..].starts_with(b"\\u") {
            return Err(lone());
        }
        self.bump();
        let second = self.four_digits()?;
        if !(0xDC00..0xE000).contains(&second) {
            return Err(lone());
        }
        char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)).ok_or_else(lone)
    }

    fn four_digits(&mut self) -> Result<u32, String> {
        self.bump();
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.expected("four hexadecimal digits"))?;
            self.bump();
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::Bounds;
    use crate::{Fault, Node, VALUES_MAX};

    fn parse(text: &str) -> Result<Node, String> {
        super::parse(text, Bounds::of_document()).map_err(|fault| match fault {
            Fault::Malformed(message) => message,
            Fault::TooManyValues(_) => "too many values".to_owned(),
        })
    }

    #[test]
    fn messages_name_the_place() {
        for (text, message) in [
            ("", "the body is empty: expected a JSON document"),
            ("{\n \"a\": 1\n \"b\": 2}", "expected ',' or '}' at line 3 column 2, found '\"'"),
            ("[1, 2", "expected ',' or ']' at line 1 column 6, found the end"),
            ("{\"ä\": tru}", "expected 'true' at line 1 column 7, found 't'"),
            ("{a: 1}", "expected a key in double quotes at line 1 column 2, found 'a'"),
            ("[1,]", "expected a value at line 1 column 4, found ']'"),
            ("[NaN]", "expected a value at line 1 column 2, found 'N'"),
            ("{} {}", "expected the end of the document at line 1 column 4, found '{'"),
            ("01", "expected no digit after a leading 0 at line 1 column 2, found '1'"),
            ("\"\\ud800\"", "a surrogate without its other half at line 1 column 2"),
            ("\"\\udc00\\ud800\"", "a surrogate without its other half at line 1 column 2"),
        ] {
            assert_eq!(parse(text).unwrap_err(), message, "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(parse(&nested(64)).is_ok());
        assert_eq!(parse(&nested(65)).unwrap_err(), "nested deeper than 64 levels at line 1 column 65");
        assert!(parse(&"[".repeat(1_000_000)).is_err());
    }

    #[test]
    fn values_are_counted_while_they_are_read() {
        let list = |values: usize| format!("[{}1]", "1,".repeat(values - 2));
        assert!(parse(&list(VALUES_MAX)).is_ok());
        // The text after the last value that is allowed is not looked at.
        let long = list(VALUES_MAX + 1).replace(']', ", nonsense");
        assert_eq!(parse(&long).unwrap_err(), "too many values");
    }
}
