//! Ids by how they begin.

use std::str::FromStr;

use vocabulary::ids::BASE32_LENGTH;

/// The first and the last id that begin with a text, as `run_01K7`; `None` when none can.
pub fn begun<I: FromStr>(beginning: &str, prefix: &str) -> Option<(I, I)> {
    let missing = BASE32_LENGTH.checked_sub(beginning.strip_prefix(prefix)?.len())?;
    let filled =
        |beginning: &str, missing: usize, digit: &str| format!("{beginning}{}", digit.repeat(missing)).parse().ok();
    // The first digit has only three bits.
    let last = match missing {
        BASE32_LENGTH => filled(&format!("{beginning}7"), missing - 1, "Z"),
        _ => filled(beginning, missing, "Z"),
    };
    filled(beginning, missing, "0").zip(last)
}

#[cfg(test)]
mod tests {
    use vocabulary::RunId;

    use super::begun;

    #[test]
    fn an_id_is_between_the_ends_of_each_of_its_beginnings() {
        let id: RunId = "run_01M8Q7EMTHFYDRWGHN04D7MPY3".parse().unwrap();
        for length in 4..=30 {
            let (first, last) = begun::<RunId>(&id.to_string()[..length], "run_").unwrap();
            assert!(first <= id && id <= last, "{length}");
        }
        assert_eq!(begun::<RunId>(&id.to_string().to_lowercase(), "run_"), Some((id, id)));
        for wrong in ["run_8", "ru", "run_01u", "sweep_01", "run_01M8Q7EMTHFYDRWGHN04D7MPY34"] {
            assert_eq!(begun::<RunId>(wrong, "run_"), None, "{wrong}");
        }
    }
}
