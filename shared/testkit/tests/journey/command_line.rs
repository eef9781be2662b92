//! The binary's client commands, run as a user would.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use trialog_testkit::{Home, Server, binary};

/// Where the commands are run, and against whom.
pub struct CommandLine {
    folder: PathBuf,
    url: String,
    token: String,
}

impl CommandLine {
    /// Against a running server.
    pub fn new(home: &Home, server: &Server) -> Self {
        Self { folder: home.path().to_path_buf(), url: server.url(), token: server.token() }
    }

    fn output(&self, words: &[&str], url: &str) -> Output {
        Command::new(binary())
            .args(words)
            .current_dir(&self.folder)
            .env("TRIALOG_API_URL", url)
            .env("TRIALOG_TOKEN", &self.token)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", binary().display()))
    }

    /// Runs a command that must succeed; what it printed.
    pub fn run(&self, words: &[&str]) -> String {
        let output = self.output(words, &self.url);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "trialog {}: {}\n{out}\n{err}", words.join(" "), output.status);
        out.into_owned()
    }

    /// Runs a command that must succeed; the JSON that it printed.
    pub fn json(&self, words: &[&str]) -> Value {
        let out = self.run(&[words, &["-o", "json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("trialog {}: {error}: {out}", words.join(" ")))
    }

    /// The exit codes: 1 refused by the server, 2 usage, 3 no server.
    pub fn refuses_as_promised(&self) {
        let code = |words: &[&str], url: &str| self.output(words, url).status.code();
        assert_eq!(code(&["sweep", "show", "nothing"], &self.url), Some(1));
        assert_eq!(code(&["sweep", "shw"], &self.url), Some(2));
        assert_eq!(code(&["why", "nothing"], &self.url), Some(1));
        assert_eq!(code(&["sweep", "list"], "http://127.0.0.1:1"), Some(3));
    }
}
