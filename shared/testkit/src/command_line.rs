//! The binary's client commands, run as a user would.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::{Server, binary};

/// Where the commands are run, and against whom.
pub struct CommandLine<'a> {
    /// The server.
    pub server: &'a Server,
    /// The folder that they are run in.
    pub folder: &'a Path,
}

impl CommandLine<'_> {
    /// A command that is still to be run.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(words).current_dir(self.folder).stdin(Stdio::null());
        command.env("TRIALOG_API_URL", self.server.url()).env("TRIALOG_TOKEN", self.server.token());
        command
    }

    /// What it printed, and how it ended.
    pub fn output(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap_or_else(|error| panic!("{}: {error}", binary().display()))
    }

    /// What a command that must succeed printed.
    pub fn run(&self, words: &[&str]) -> String {
        let output = self.output(words);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "trialog {}: {}\n{err}", words.join(" "), output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What a command that must be refused had to say.
    pub fn refused(&self, words: &[&str], code: i32) -> String {
        let output = self.output(words);
        assert_eq!(output.status.code(), Some(code), "trialog {}: {output:?}", words.join(" "));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}
