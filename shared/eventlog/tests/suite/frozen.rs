//! A process that holds a log and stands still inside of a transaction, as on a machine that swaps.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use trialog_eventlog::{EventLog, Recorded, sql};

use crate::account::*;
use crate::leases::options_of;

/// Set for the process that is to stand still.
const URL: &str = "TRIALOG_FROZEN_URL";
const SCHEMA: &str = "TRIALOG_FROZEN_SCHEMA";
const HOLDER: &str = "TRIALOG_FROZEN_HOLDER";
/// Before each word to the parent: the test harness prints to the same pipe.
const WORD: &str = "frozen: ";
/// What it says inside of its transaction.
const INSIDE: &str = "inside";

fn say(word: &str) {
    // One write per line: a line that arrives is whole.
    std::io::stdout().lock().write_all(format!("{WORD}{word}\n").as_bytes()).unwrap();
}

/// Not a test by itself: the body of the process. It holds the head of the log when it stops, as one does that is
/// stopped before its COMMIT.
#[test]
fn child_that_stands_still() {
    let Ok(url) = std::env::var(URL) else { return };
    let home = Home::Postgres(url, std::env::var(SCHEMA).unwrap());
    let options = match std::env::var(HOLDER).unwrap().as_str() {
        "" => home.options(clock(), vec![std::sync::Arc::new(Balances)]),
        name => options_of(&home, name),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let log = EventLog::open(options).await.unwrap();
        let seen = log.clone();
        let work = log.record::<Account, _>("a", None, context(1), move |_, tx| {
            let seen = seen.clone();
            Box::pin(async move {
                sql("UPDATE log_head SET commits = commits WHERE id = 1").execute(&mut *tx).await?;
                sql("INSERT INTO notes(text) VALUES ('of the frozen one')").execute(&mut *tx).await?;
                say(INSIDE);
                std::io::stdin().lock().read_line(&mut String::new()).unwrap();
                say(&format!("current: {:?}", seen.assert_current()));
                Ok(Recorded { events: vec![Deposited { amount: 1 }.into()], reply: Vec::new() })
            })
        });
        say(&format!("late: {:?}", work.await));
        say(&format!("next: {:?}", log.execute::<Account>("a", Ask::Deposit(vec![1]), context(2)).await));
        say(&format!("ended: {:?}", log.ended().await));
    });
}

/// A process that stands still; it is continued and killed when this is dropped.
pub struct Frozen {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Frozen {
    /// One that has begun to write under the name of a holder, or under none, and was stopped inside of its
    /// transaction.
    pub fn inside_a_transaction(home: &Home, holder: &str) -> Self {
        let Home::Postgres(url, schema) = home else { unreachable!("there is one writer in a file") };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["frozen::child_that_stands_still", "--exact", "--nocapture", "--test-threads=1"])
            .env(URL, url)
            .env(SCHEMA, schema)
            .env(HOLDER, holder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut frozen = Self { child, input, output: BufReader::new(output).lines() };
        assert_eq!(frozen.word().as_deref(), Some(INSIDE));
        testkit::freeze(frozen.child.id(), true);
        frozen
    }

    fn word(&mut self) -> Option<String> {
        let mut lines = self.output.by_ref().map(Result::unwrap);
        lines.find_map(|line| line.split_once(WORD).map(|(_, word)| word.to_owned()))
    }

    /// Lets it go on; what it says until its end, a line each: whether it takes itself for current, what becomes of its
    /// transaction and of the next command, and why its log has ended.
    pub async fn go_on(mut self) -> [String; 4] {
        let until_its_end = move || {
            testkit::freeze(self.child.id(), false);
            self.input.write_all(b"\n").unwrap();
            ["current", "late", "next", "ended"].map(|_| self.word().expect("it says four words"))
        };
        // The log of the one that has taken over goes on meanwhile.
        tokio::task::spawn_blocking(until_its_end).await.unwrap()
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        testkit::freeze(self.child.id(), false);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
