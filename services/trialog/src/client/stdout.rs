//! The standard output, and nothing else of the client writes to it: its reader may have gone, which is no failure.

use std::borrow::Cow;
use std::io::{ErrorKind, Write};

/// Writes bytes as they are. A reader that has gone (`| head`) ends the command without a complaint.
pub fn bytes_as_they_are(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("trialog: cannot write to the standard output: {error}");
            std::process::exit(1);
        }
    }
}

/// Writes a line as it is: a document that a program reads.
pub fn line_as_it_is(text: &str) {
    bytes_as_they_are(format!("{text}\n").as_bytes());
}

/// Writes a line for people.
pub fn line(text: &str) {
    line_as_it_is(&shown(text));
}

/// A text with its characters that steer a terminal to be seen, as `\u{1b}`: whoever names a trial, or fails it, says
/// what is printed, and not what the terminal does.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match steers(character) {
            true => shown.extend(character.escape_unicode()),
            false => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// Controls, but for the ends of lines and the tabs of a text; and marks that turn the order of what follows.
fn steers(character: char) -> bool {
    let turns = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (character.is_control() && !matches!(character, '\n' | '\t'))
}

/// Writes lines.
pub fn lines(lines: &[String]) {
    if !lines.is_empty() {
        line(&lines.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::shown;

    #[test]
    fn what_steers_a_terminal_is_shown() {
        // The reason of a failure set the window's title and the colour of what followed.
        for (text, expected) in [
            ("\u{1b}]0;pwn\u{7}\u{1b}[31m", "\\u{1b}]0;pwn\\u{7}\\u{1b}[31m"),
            ("a\rb\0\u{7f}\u{9b}2J", "a\\u{d}b\\u{0}\\u{7f}\\u{9b}2J"),
            ("\u{202e}txt.exe\u{2066}\u{2069}", "\\u{202e}txt.exe\\u{2066}\\u{2069}"),
            ("two\nlines\tand é 你好 \u{200f}", "two\nlines\tand é 你好 \u{200f}"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn no_command_prints_for_itself() {
        // A format that one command forgets, or a panic when the reader of a pipe has gone.
        fn look(folder: &Path, found: &mut Vec<String>) {
            let client = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/client"));
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    look(&path, found);
                } else if !["stdout.rs", "stderr.rs"].iter().any(|own| path == client.join(own)) {
                    let text = std::fs::read_to_string(&path).unwrap();
                    // What follows a sweep gives way to its bar, and its news are shown already.
                    let text = if path == client.join("follow.rs") { text.replace("eprint", "") } else { text };
                    let prints = ["println!(", "print!(", "stdout().lock()"].iter().any(|call| text.contains(call));
                    found.extend(prints.then(|| path.display().to_string()));
                }
            }
        }
        let mut found = Vec::new();
        look(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/client")), &mut found);
        assert_eq!(found, Vec::<String>::new(), "print by client::stdout and client::stderr");
    }
}
