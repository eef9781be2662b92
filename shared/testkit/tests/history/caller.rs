//! One client, with its own choices.

use std::time::Duration;

use trialog_testkit::{Client, Random, Request, Sent};

/// How long a patient call goes on with one Idempotency-Key.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Between two operations, in milliseconds: the faults and not the writing fill the time.
const PAUSE_MS: u64 = 25;

pub struct Caller {
    pub client: Client,
    pub who: usize,
    pub random: Random,
}

impl Caller {
    pub fn new(client: Client, who: usize, random: Random) -> Self {
        Self { client, who, random }
    }

    /// Goes on until there is an answer, or, one time of five, gives up after the first try: then nobody knows.
    pub fn send(&mut self, request: &Request<'_>) -> Sent {
        let is_patient = self.random.below(5) > 0;
        let sent = request.send_within(if is_patient { PATIENCE } else { Duration::ZERO });
        if let Sent::Answered(answer) = &sent {
            assert!(answer.status < 500, "{}", answer.text());
        } else {
            std::thread::sleep(Duration::from_millis(200));
        }
        sent
    }

    pub fn pause(&mut self) {
        std::thread::sleep(Duration::from_millis(self.random.below(PAUSE_MS)));
    }
}
