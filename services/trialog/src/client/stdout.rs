//! The standard output, and nothing else of the client writes to it: its reader may have gone, which is no failure.

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

/// Writes a line.
pub fn line(text: &str) {
    bytes_as_they_are(format!("{text}\n").as_bytes());
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

    #[test]
    fn no_command_prints_for_itself() {
        // A format that one command forgets, or a panic when the reader of a pipe has gone.
        fn look(folder: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    look(&path, found);
                } else if path != Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/client/stdout.rs")) {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let text = text.replace("eprint", "");
                    let prints = ["println!(", "print!(", "stdout().lock()"].iter().any(|call| text.contains(call));
                    found.extend(prints.then(|| path.display().to_string()));
                }
            }
        }
        let mut found = Vec::new();
        look(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/client")), &mut found);
        assert_eq!(found, Vec::<String>::new(), "print by client::stdout");
    }
}
