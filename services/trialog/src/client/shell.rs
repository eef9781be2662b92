//! What is made of the command line itself: completion scripts and manual pages.

use std::path::PathBuf;

use clap::{Args, Command};

use super::{Failure, output, with_examples};

/// Arguments of `trialog completions`.
#[derive(Args)]
pub struct Completions {
    /// bash, zsh, fish, elvish or powershell.
    shell: clap_complete::Shell,
}

/// Arguments of `trialog man`.
#[derive(Args)]
pub struct Man {
    /// Where a page for every command is written. Absent: the first page, to the standard output.
    folder: Option<PathBuf>,
}

/// Prints a completion script.
pub fn completions(wanted: &Completions, whole: Command) {
    output::bytes_as_they_are(&script(wanted.shell, whole));
}

fn script(shell: clap_complete::Shell, mut whole: Command) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut whole, "trialog", &mut script);
    script
}

/// Prints the manual page, or writes all of them.
///
/// # Errors
/// When the folder cannot be written.
pub fn man(wanted: &Man, whole: Command) -> Result<(), Failure> {
    let whole = with_examples(whole);
    let Some(folder) = &wanted.folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(whole).render(&mut page).map_err(|error| Failure::Usage(error.to_string()))?;
        output::bytes_as_they_are(&page);
        return Ok(());
    };
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(whole, folder));
    written.map_err(|error| Failure::Usage(format!("{}: {error}", folder.display())))
}

#[cfg(test)]
mod tests {
    use clap::Subcommand;
    use clap_complete::Shell;

    use super::*;

    fn whole() -> Command {
        crate::client::Command::augment_subcommands(Command::new("trialog"))
    }

    /// What bash offers behind these words.
    fn offered(words: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trialog.bash");
        std::fs::write(&path, script(Shell::Bash, whole())).unwrap();
        let asked = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _trialog trialog \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            path.display()
        );
        let output = std::process::Command::new("bash").args(["-c", &asked]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn bash_completes_verbs_and_options() {
        // A script that bash cannot read is noticed when the next shell of its user starts.
        assert_eq!(offered("trialog imp"), ["import", "importance"]);
        assert_eq!(offered("trialog sweep su"), ["submit"]);
        assert_eq!(offered("trialog trial list digits --so"), ["--sort"]);
        assert_eq!(offered("trialog init sweep mine --preset skl"), ["sklearn"]);
    }

    #[test]
    fn every_shell_gets_a_script_that_knows_the_verbs() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let text = String::from_utf8(script(shell, whole())).unwrap();
            assert!(
                ["importance", "whatif", "no-such"].map(|verb| text.contains(verb)) == [true, true, false],
                "{shell}"
            );
        }
    }

    #[test]
    fn every_command_has_a_manual_page_with_its_examples() {
        let folder = tempfile::tempdir().unwrap();
        let pages = folder.path().join("man1");
        man(&Man { folder: Some(pages.clone()) }, whole()).unwrap_or_else(|failure| panic!("{failure:?}"));
        let page = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
        assert!(page("trialog.1").contains("trialog\\-importance(1)"), "{}", page("trialog.1"));
        let submit = page("trialog-sweep-submit.1");
        assert!(submit.contains("trialog sweep submit sweep.yaml"), "{submit}");
    }
}
