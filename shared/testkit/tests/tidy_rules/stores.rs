//! Services name no database, and their SQL is what every store takes.

use super::{report, root, rust_files};

/// It reads the file of another program.
const READS_FOREIGN_FILES: &str = "services/trialog/src/client/import/optuna";
/// It looks after the files of a data folder, whoever writes them.
const KEEPS_THE_FOLDER: &str = "services/trialog/src/server/databases.rs";

#[test]
fn services_name_no_database() {
    // What names one cannot be moved to the other by wiring.
    let mut faults = Vec::new();
    for (path, text) in rust_files() {
        let is_exempt = path.starts_with(READS_FOREIGN_FILES) || path == KEEPS_THE_FOLDER;
        if !path.starts_with("services/") || is_exempt {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let is_code = !line.trim_start().starts_with("//");
            if is_code && ["sqlx", "Sqlite", ".sqlite", ".db\""].iter().any(|name| line.contains(name)) {
                faults.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    let services = ["agent", "compute", "gateway", "inference", "models", "runs", "sweeps", "workspaces"];
    for service in services {
        let manifest = std::fs::read_to_string(root().join(format!("services/{service}/Cargo.toml"))).unwrap();
        if manifest.contains("sqlx") {
            faults.push(format!("services/{service}/Cargo.toml depends on sqlx"));
        }
    }
    report(&faults);
}

#[test]
fn sql_is_what_every_store_takes() {
    let mut faults = Vec::new();
    for (path, text) in rust_files().iter().filter(|(path, _)| path.starts_with("services/")) {
        if path.starts_with(READS_FOREIGN_FILES) {
            continue;
        }
        for literal in literals(text).iter().filter(|literal| is_sql(literal)) {
            faults.extend(faults_of(literal).into_iter().map(|fault| format!("{path}: {fault}: {literal}")));
        }
    }
    report(&faults);
}

#[test]
fn each_forbidden_form_of_sql_is_found() {
    let planted = [
        ("SELECT a FROM t WHERE b = ?", "?"),
        ("SELECT a FROM t WHERE b = ?1", "?"),
        ("INSERT OR IGNORE INTO t(a) VALUES ($1)", "INSERT OR"),
        ("REPLACE INTO t(a) VALUES ($1)", "REPLACE"),
        ("SELECT rowid FROM t", "rowid"),
        ("UPDATE t SET a = max(a, $1)", "max"),
        ("SELECT min(a, (b + 1)) FROM t", "min"),
        ("SELECT ifnull(a, 0) FROM t", "ifnull"),
        ("SELECT a FROM t WHERE b == $1", "=="),
        ("INSERT INTO t(a, n) VALUES ($1, 1) ON CONFLICT(a) DO UPDATE SET n = n + excluded.n", "n without its table"),
        ("ON CONFLICT(a) DO UPDATE SET n = CASE WHEN t.n > m THEN 1 ELSE 0 END", "m without its table"),
    ];
    for (text, wanted) in planted {
        assert!(is_sql(text), "{text}");
        let found = faults_of(text);
        assert!(found.iter().any(|fault| fault.contains(wanted)), "{text}: {found:?}");
    }
    for fine in [
        "SELECT max(a), coalesce(b, '?') FROM t WHERE c = $1 AND ($2 = '' OR d = $2) ORDER BY a LIMIT $3",
        "INSERT INTO t(a, n) VALUES ($1, $2) ON CONFLICT(a) DO UPDATE SET n = t.n + excluded.n, \
         m = CASE WHEN excluded.m > t.m THEN excluded.m ELSE t.m END WHERE t.a <> 'x'",
        "INSERT INTO t(a) VALUES ($1) ON CONFLICT DO NOTHING",
    ] {
        assert_eq!(faults_of(fine), [""; 0], "{fine}");
    }
    assert_eq!(
        literals(
            r#"let a = "x\"y"; // "no"
        let c = '"'; let b = "SELECT 1";"#
        ),
        ["x\\\"y", "SELECT 1"]
    );
}

fn is_sql(text: &str) -> bool {
    ["SELECT ", "INSERT ", "REPLACE INTO", "UPDATE ", "DELETE FROM", "ON CONFLICT", "PRAGMA"]
        .iter()
        .any(|word| text.contains(word))
}

/// The string literals of a Rust file, as they are written.
fn literals(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '/' if rest.peek() == Some(&'/') => drop(rest.by_ref().find(|&c| c == '\n')),
            // A quote as a character.
            '\'' if rest.peek() == Some(&'"') => drop(rest.next()),
            '"' => {
                let mut literal = String::new();
                while let Some(c) = rest.next().filter(|&c| c != '"') {
                    literal.push(c);
                    if c == '\\' {
                        literal.extend(rest.next());
                    }
                }
                found.push(literal);
            }
            _ => {}
        }
    }
    found
}

/// Words, numbers and single signs; texts in quotes are one sign.
fn tokens(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\'' {
            rest.by_ref().find(|&c| c == '\'');
            found.push("''".to_owned());
        } else if c.is_alphanumeric() || ['_', '$', '{', '}'].contains(&c) {
            let mut word = String::from(c);
            while let Some(c) = rest.next_if(|&c| c.is_alphanumeric() || ['_', '{', '}'].contains(&c)) {
                word.push(c);
            }
            found.push(word);
        } else if !c.is_whitespace() && c != '\\' {
            found.push(String::from(c));
        }
    }
    found
}

/// What only one of the stores takes, or takes in another way.
fn faults_of(text: &str) -> Vec<String> {
    const FOREIGN: [&str; 8] = ["rowid", "PRAGMA", "AUTOINCREMENT", "GLOB", "REPLACE", "?", "datetime", "strftime"];
    const FOREIGN_CALLS: [&str; 9] =
        ["ifnull", "iif", "hex", "group_concat", "typeof", "instr", "json_extract", "randomblob", "printf"];
    let tokens = tokens(text);
    let mut faults = Vec::new();
    for (place, token) in tokens.iter().enumerate() {
        let next = tokens.get(place + 1).map(String::as_str).unwrap_or_default();
        let is = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(token));
        if is(&FOREIGN) || (next == "(" && is(&FOREIGN_CALLS)) {
            faults.push(format!("{token} is not of every store"));
        } else if token == "INSERT" && next == "OR" {
            faults.push("INSERT OR: ON CONFLICT says it in every store".to_owned());
        } else if token == "=" && next == "=" {
            faults.push("== is =".to_owned());
        } else if next == "(" && is(&["min", "max"]) && has_two_arguments(&tokens[place + 1..]) {
            faults.push(format!("{token} of two values: CASE WHEN says it in every store"));
        }
    }
    if let Some(place) = tokens.windows(3).position(|words| words == ["DO", "UPDATE", "SET"]) {
        faults.extend(unqualified(&tokens[place + 3..]));
    }
    faults
}

/// Whether there is a comma between a parenthesis and its partner.
fn has_two_arguments(tokens: &[String]) -> bool {
    let mut depth = 0;
    for token in tokens {
        match token.as_str() {
            "(" => depth += 1,
            ")" if depth == 1 => return false,
            ")" => depth -= 1,
            "," if depth == 1 => return true,
            _ => {}
        }
    }
    false
}

/// In what follows DO UPDATE SET a bare name could be the row's that is there or the one that comes.
fn unqualified(tokens: &[String]) -> Vec<String> {
    const WORDS: [&str; 16] = [
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
        "AND",
        "OR",
        "NOT",
        "IS",
        "NULL",
        "IN",
        "BETWEEN",
        "WHERE",
        "RETURNING",
        "TRUE",
        "FALSE",
    ];
    let (mut faults, mut depth, mut is_target) = (Vec::new(), 0, true);
    for (place, token) in tokens.iter().enumerate() {
        let next = tokens.get(place + 1).map(String::as_str).unwrap_or_default();
        let is_name = token.starts_with(|c: char| c.is_alphabetic()) && !WORDS.contains(&token.as_str());
        match token.as_str() {
            "(" => depth += 1,
            ")" => depth -= 1,
            "," if depth == 0 => is_target = true,
            "=" if depth == 0 => is_target = false,
            _ if is_target || !is_name || [".", "("].contains(&next) => {}
            _ if place > 0 && tokens[place - 1] == "." => {}
            _ => faults.push(format!("{token} without its table")),
        }
    }
    faults
}
