//! Property tests fail in a way that can be read and repeated.

use std::process::Command;

use proptest::prelude::*;
use trialog_testkit::properties;

/// Set for the failure that another test looks at.
const WANTED: &str = "TRIALOG_PROPERTY_FAILS";
/// What a screen shows.
const SCREEN_LINES: usize = 50;

proptest! {
    #![proptest_config(properties(8))]

    #[test]
    fn a_property_of_long_lists(long in prop::collection::vec(0..9_u8, 3_000..4_000)) {
        match std::env::var(WANTED).as_deref() {
            // Both lists on a line each; or a panic for each list that is tried while the example is made smaller.
            Ok("told") => prop_assert_eq!(&long, &Vec::<u8>::new()),
            Ok(_) => assert!(long.len() < 10, "{long:#?}"),
            Err(_) => {}
        }
    }
}

fn failure(way: &str, seed: Option<&str>) -> String {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", "a_property_of_long_lists"]).env(WANTED, way).env("RUST_BACKTRACE", "0");
    command.env_remove("TRIALOG_PROPERTY_SEED").env_remove("TRIALOG_PROPERTY_WHOLE");
    command.envs(seed.map(|seed| ("TRIALOG_PROPERTY_SEED", seed)));
    let done = command.output().expect("this test runs");
    assert!(!done.status.success());
    [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}

#[test]
fn a_failure_fits_a_screen_and_repeats() {
    // Ten thousand lines of a list hide the one that says what is wrong; a failure that does not repeat is luck.
    let varies = |line: &&str| !line.contains("finished in") && !line.contains("panicked at");
    let shown = |text: &str| text.lines().filter(varies).collect::<String>();
    for way in ["told", "panics"] {
        let first = failure(way, None);
        assert!(first.lines().count() <= SCREEN_LINES, "{way}: {} lines", first.lines().count());
        assert!(first.lines().all(|line| line.len() < 1_000), "{way}: a line is as long as the list");
        assert!(first.contains("TRIALOG_PROPERTY_SEED="), "{way}: {first}");
        assert_eq!(shown(&first), shown(&failure(way, None)), "{way}: the same examples each time");
        assert_ne!(shown(&first), shown(&failure(way, Some("7"))), "{way}: another seed, other examples");
    }
}
