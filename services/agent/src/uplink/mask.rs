//! The secrets that a job was handed do not leave its node: in what is sent asterisks stand in their place, as many as
//! the secret has bytes, so that offsets stay what they are.

use contracts::compute::StartAttempt;

/// Bytes of the shortest secret: a shorter one would blot out ordinary words.
const SECRET_BYTES_MIN: usize = 8;
/// Bytes of a secret that are looked for; less than what stays on the disk of sent output.
const SECRET_BYTES_MAX: usize = 16 << 10;
/// What the names of variables contain whose values are secret.
const SECRET_NAMES: [&str; 9] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "CREDENTIAL",
    "API_KEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "CONNECTION_STRING",
];

/// What must not leave the node.
#[derive(Default)]
pub struct Mask {
    secrets: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Mask {
    /// Without the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mask").field("secrets", &self.secrets.len()).finish()
    }
}

impl Mask {
    /// The token of an attempt, and the values of its variables whose names speak of secrets.
    pub fn of(order: &StartAttempt) -> Self {
        let variables = order.spec.iter().flat_map(|spec| &spec.environment_variables);
        let named = variables.filter(|(name, _)| {
            let name = name.to_ascii_uppercase();
            SECRET_NAMES.iter().any(|word| name.contains(word))
        });
        let all = std::iter::once(&order.run_token).chain(named.map(|(_, value)| value));
        let mut secrets: Vec<Vec<u8>> = all
            .map(|secret| secret.as_bytes()[..secret.len().min(SECRET_BYTES_MAX)].to_vec())
            .filter(|secret| secret.len() >= SECRET_BYTES_MIN)
            .collect();
        // One that is part of another must not spoil the search for that.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// Bytes beside a piece that must be seen to find every secret of which a part lies in it.
    pub fn reach(&self) -> usize {
        self.secrets.first().map_or(0, |longest| longest.len() - 1)
    }

    /// Puts asterisks in place of every secret.
    pub fn cover(&self, bytes: &mut [u8]) {
        for secret in &self.secrets {
            let mut from = 0;
            while let Some(place) = find(&bytes[from..], secret) {
                let start = from + place;
                bytes[start..start + secret.len()].fill(b'*');
                from = start + secret.len();
            }
        }
    }

    /// The same in a text.
    pub fn cover_text(&self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        self.cover(&mut bytes);
        // A secret is a text of its own, so what is left of the text around it is whole.
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Bytes at the end that may be the beginning of a secret whose rest has not come yet.
    pub fn open_end(&self, bytes: &[u8]) -> usize {
        let begins = |secret: &Vec<u8>| {
            let most = (secret.len() - 1).min(bytes.len());
            (1..=most).rev().find(|length| bytes.ends_with(&secret[..*length])).unwrap_or(0)
        };
        self.secrets.iter().map(begins).max().unwrap_or(0)
    }
}

fn find(bytes: &[u8], secret: &[u8]) -> Option<usize> {
    let (first, rest) = secret.split_first()?;
    let mut from = 0;
    loop {
        let place = from + bytes.get(from..)?.iter().position(|byte| byte == first)?;
        if bytes[place + 1..].starts_with(rest) {
            return Some(place);
        }
        from = place + 1;
    }
}

#[cfg(test)]
mod tests {
    use contracts::compute::JobSpec;

    use super::*;

    fn mask(variables: &[(&str, &str)]) -> Mask {
        let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let spec = Some(JobSpec { environment_variables: pairs.collect(), ..JobSpec::default() });
        Mask::of(&StartAttempt { run_token: "tlr_w.run_1.1.0123456789".into(), spec, ..StartAttempt::default() })
    }

    #[test]
    fn the_token_and_secret_variables_are_covered_and_nothing_else() {
        // A script that prints its environment must not hand its rights to whoever reads logs.
        let mask = mask(&[("DB_PASSWORD", "hunter2hunter2"), ("api_key", "abc"), ("EPOCHS", "1000000000")]);
        let text =
            "TRIALOG_TOKEN=tlr_w.run_1.1.0123456789\nDB_PASSWORD=hunter2hunter2\napi_key=abc\nEPOCHS=1000000000\n";
        let covered = mask.cover_text(text);
        let stars = |count| "*".repeat(count);
        let wanted =
            format!("TRIALOG_TOKEN={}\nDB_PASSWORD={}\napi_key=abc\nEPOCHS=1000000000\n", stars(24), stars(14));
        assert_eq!(covered, wanted);
        assert_eq!(covered.len(), text.len(), "offsets stay");
    }

    #[test]
    fn an_open_end_is_the_beginning_of_a_secret() {
        // What has been sent cannot be covered any more.
        let mask = mask(&[("A_SECRET", "tttttttttu")]);
        assert_eq!(mask.open_end(b"... tlr_w.run"), "tlr_w.run".len());
        assert_eq!(mask.open_end(b"... ttttttt"), 7);
        assert_eq!(mask.open_end(b"... tttttttttttt"), 9);
        assert_eq!(mask.open_end(b"... tlr_w.ran\n"), 0);
        assert_eq!(mask.open_end(b""), 0);
        assert_eq!(Mask::default().open_end(b"abc"), 0);
    }
}
