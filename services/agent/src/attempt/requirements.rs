//! What a requirements file asks for, as far as it matters to whoever keeps the environment that is made of it. Files
//! are decoded as pip decodes them, and those that they name with `-r` and `-c` are read by the same rules.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::places::Refused;

/// Bytes of a requirements file and of all that it names; a list of every package there is has fewer.
const BYTES_MAX: usize = 1 << 20;
/// Files of one list.
const FILES_MAX: usize = 64;
/// How the names of files end that pip installs from the folder that it works in, also without a slash.
const ARCHIVES: [&str; 12] =
    [".whl", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tar.lz", ".tlz", ".tar.lzma"];
/// pip takes each beginning of a long option, and the value of a short one without a space.
const EDITABLE: (&str, &str) = ("-e", "--editable");
const NESTED: [(&str, &str); 2] = [("-r", "--requirement"), ("-c", "--constraint")];

/// The lines of a file and of those that it names, without comments.
pub(super) fn read(file: &Path, name: &str) -> io::Result<Result<Vec<String>, Refused>> {
    let (mut lines, mut left, mut seen) = (Vec::new(), BYTES_MAX, HashSet::new());
    let mut open = vec![(file.to_owned(), name.to_owned())];
    while let Some((file, name)) = open.pop() {
        // One that is not there, or is none, pip has something to say about.
        let Some(real) = fs::canonicalize(&file).ok().filter(|real| real.is_file()) else { continue };
        if !seen.insert(real.clone()) {
            continue;
        }
        let bytes = match bytes_of(&real, left) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(Err(Refused(format!("requirements: '{name}' cannot be read: {error}"))));
            }
            read => read?,
        };
        if bytes.len() > left || seen.len() > FILES_MAX {
            let why = format!("with all that it names has more than {BYTES_MAX} bytes or {FILES_MAX} files");
            return Ok(Err(Refused(format!("requirements: '{name}' {why}"))));
        }
        left -= bytes.len();
        let Some(text) = decoded(&bytes) else {
            let why = "is not UTF-8, nor UTF-16 with its mark; save it as UTF-8";
            return Ok(Err(Refused(format!("requirements: '{name}' {why}"))));
        };
        for line in joined(&text) {
            if is_editable(&line) {
                return Ok(Err(editable(&line)));
            }
            let folder = file.parent().unwrap_or(Path::new("/"));
            open.extend(nested(&line).filter(|name| !name.contains("://")).map(|name| (folder.join(&name), name)));
            lines.push(line);
        }
    }
    Ok(Ok(lines))
}

fn editable(line: &str) -> Refused {
    Refused(format!("requirements: '{line}' would be installed as a link into this attempt, which goes; leave -e out"))
}

fn bytes_of(file: &PathBuf, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(file)?.take(u64::try_from(most).unwrap_or_default() + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a file by its byte order mark; UTF-8 without one.
fn decoded(bytes: &[u8]) -> Option<String> {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let pairs = bytes.chunks_exact(2);
        let is_whole = pairs.remainder().is_empty();
        let units: Vec<u16> = pairs.map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16(&units).ok().filter(|_| is_whole)
    };
    let text = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        all => String::from_utf8(all.to_vec()).ok(),
    };
    text.filter(|text| !text.contains('\0'))
}

/// Lines as pip sees them: those that end with a backslash go on with the next one, comments are left out.
fn joined(text: &str) -> Vec<String> {
    let (mut lines, mut begun) = (Vec::new(), String::new());
    for line in text.lines().chain([""]) {
        let bare = without_comment(line);
        begun.push_str(bare.strip_suffix('\\').unwrap_or(bare));
        if !bare.ends_with('\\') {
            let whole = std::mem::take(&mut begun);
            lines.extend(Some(whole.trim().to_owned()).filter(|line| !line.is_empty()));
        }
    }
    lines
}

fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (place, character) in line.char_indices() {
        if character == '#' && before.is_whitespace() {
            return &line[..place];
        }
        before = character;
    }
    line
}

/// The words of a line as a shell would cut it, which is how pip reads options.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for character in line.chars() {
        match (quote, character) {
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            (None, _) if character.is_whitespace() => words.push(std::mem::take(&mut word)),
            _ => word.push(character),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// What comes right after an option in its own word; `None` when the word is not this option.
fn value_of<'a>(word: &'a str, (short, long): (&str, &str)) -> Option<&'a str> {
    if word.starts_with("--") {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        return Some(value).filter(|_| name.len() > 2 && long.starts_with(name));
    }
    word.strip_prefix(short)
}

fn is_editable(line: &str) -> bool {
    // After the name of a package pip knows other options only.
    line.starts_with('-') && words(line).iter().any(|word| value_of(word, EDITABLE).is_some())
}

/// The files that a line names.
fn nested(line: &str) -> impl Iterator<Item = String> {
    let words = if line.starts_with('-') { words(line) } else { Vec::new() };
    let named = |place: usize| {
        let value = NESTED.iter().find_map(|option| value_of(&words[place], *option))?;
        if value.is_empty() { words.get(place + 1).cloned() } else { Some(value.to_owned()) }
    };
    (0..words.len()).filter_map(named).collect::<Vec<_>>().into_iter()
}

/// Whether a line stands for files of the code, so that other code makes another environment.
pub(super) fn is_local(line: &str) -> bool {
    let name = line.split([';', '[']).next().unwrap_or_default().split_whitespace().next().unwrap_or_default();
    let name = name.to_ascii_lowercase();
    line.starts_with(['-', '.', '/'])
        || line.contains("file:")
        || (line.contains('/') && !line.contains("://"))
        || ARCHIVES.iter().any(|end| name.ends_with(end))
}
