//! Several servers that answer for each other: one of them writes, the others answer reads and forward everything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tonic::body::Body;
use tonic::transport::Channel;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceExt};

use crate::READS;
use crate::peer::{Boxed, Tls, channel};

/// The number of `UNAVAILABLE` among the status codes of gRPC.
const UNAVAILABLE: &[u8] = b"14";
/// The header of an answer that says no more than that this server cannot answer now, and another one may.
pub const AWAY: &str = "trialog-away";
/// Of so many rounds of reads one asks those that were away, too.
const ROUNDS_UNTIL_ASKED_AGAIN: usize = 64;

/// A service behind addresses with commas between, or behind a single one.
///
/// # Errors
/// As [`channel`].
pub fn connect(addresses: &str, tls: Option<&Tls>) -> Result<Boxed, String> {
    let channels = addresses.split(',').map(|address| channel(address.trim(), tls));
    let channels = channels.collect::<Result<Vec<_>, _>>()?;
    if let [only] = &channels[..] {
        return Ok(BoxCloneSyncService::new(only.clone().map_err(BoxError::from)));
    }
    let replicas = Arc::new(Replicas { turns: Turns::of(channels.len()), channels });
    Ok(BoxCloneSyncService::new(tower::service_fn(move |request: Request<Body>| {
        let replicas = Arc::clone(&replicas);
        async move {
            if READS.contains(&request.uri().path()) {
                replicas.read(request).await
            } else {
                replicas.command(request).await
            }
        }
    })))
}

struct Replicas {
    channels: Vec<Channel>,
    turns: Turns,
}

impl Replicas {
    /// Asks one. What failed is not tried again here, for nobody knows what became of it; who called tries again, and
    /// comes to the next one.
    async fn command(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let place = self.turns.of_command();
        let answered = self.channels[place].clone().oneshot(request).await;
        let status = answered.as_ref().ok().and_then(|answer| answer.headers().get("grpc-status"));
        if answered.is_err() || status.is_some_and(|status| status.as_bytes() == UNAVAILABLE) {
            self.turns.turn_from(place);
        }
        answered.map_err(BoxError::from)
    }

    /// Asks one after the other until one is there. What a server that is there answers is the answer, also when it is
    /// that something is not there yet.
    async fn read(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let mut asked = Vec::with_capacity(self.channels.len());
        loop {
            let place = self.turns.of_read(&asked);
            asked.push(place);
            let again = Request::from_parts(parts.clone(), Body::new(Full::new(body.clone())));
            let answered = self.channels[place].clone().oneshot(again).await;
            let is_away = answered.as_ref().map_or(true, |answer| answer.headers().contains_key(AWAY));
            self.turns.note(place, is_away);
            if !is_away || asked.len() == self.channels.len() {
                return answered.map_err(BoxError::from);
            }
        }
    }
}

/// Which of several servers is asked. Commands go to the one that answered the last one, until it fails: it writes, or
/// forwards to the one that does. Reads go to each in turn, for each answers them by itself.
struct Turns {
    command: AtomicUsize,
    read: AtomicUsize,
    /// Those that did not answer a read when they were asked last.
    away: Vec<AtomicBool>,
}

impl Turns {
    fn of(servers: usize) -> Self {
        let away = (0..servers).map(|_| AtomicBool::new(false)).collect();
        Self { command: AtomicUsize::new(0), read: AtomicUsize::new(0), away }
    }

    fn of_command(&self) -> usize {
        self.command.load(Ordering::Relaxed)
    }

    /// One of those that were not asked; of these one that is there, as far as is known.
    fn of_read(&self, asked: &[usize]) -> usize {
        let (turn, servers) = (self.read.fetch_add(1, Ordering::Relaxed), self.away.len());
        let is_known = !(turn / servers).is_multiple_of(ROUNDS_UNTIL_ASKED_AGAIN);
        let mut left: Vec<usize> = (0..servers).map(|next| turn.wrapping_add(next) % servers).collect();
        left.retain(|place| !asked.contains(place));
        let is_here = |place: &&usize| !is_known || !self.away[**place].load(Ordering::Relaxed);
        left.iter().find(is_here).or(left.first()).copied().unwrap_or_default()
    }

    fn note(&self, place: usize, is_away: bool) {
        self.away[place].store(is_away, Ordering::Relaxed);
    }

    fn turn_from(&self, place: usize) {
        let next = (place + 1) % self.away.len();
        // Of many calls that fail together the first one turns.
        let _ = self.command.compare_exchange(place, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(turns: &Turns, reads: usize) -> [usize; 3] {
        let mut asked = [0; 3];
        (0..reads).for_each(|_| asked[turns.of_read(&[])] += 1);
        asked
    }

    #[test]
    fn reads_go_to_each_server_in_turn_and_commands_to_one_until_it_fails() {
        let turns = Turns::of(3);
        assert_eq!((asked(&turns, 30), turns.of_command()), ([10, 10, 10], 0));
        turns.turn_from(0);
        turns.turn_from(0);
        assert_eq!(turns.of_command(), 1, "two that fail together turn once");
        assert_eq!(asked(&turns, 30), [10, 10, 10], "a command says nothing of reads");
        turns.note(0, true);
        assert_eq!(turns.of_command(), 1, "nor a read of commands");
        let without = asked(&turns, 30);
        assert_eq!((without[0], without[1] + without[2]), (0, 30));
    }

    #[test]
    fn one_that_was_away_is_asked_again_some_time() {
        let turns = Turns::of(3);
        asked(&turns, 3);
        turns.note(2, true);
        let asked_of = asked(&turns, 3 * ROUNDS_UNTIL_ASKED_AGAIN);
        assert_eq!(asked_of[2], 1, "{asked_of:?}");
        turns.note(2, false);
        assert_eq!(asked(&turns, 30), [10, 10, 10]);
        (0..3).for_each(|place| turns.note(place, true));
        assert_eq!(asked(&turns, 30), [10, 10, 10], "all are away: none is better than another one");
        turns.note(1, false);
        assert_eq!((turns.of_read(&[]), turns.of_read(&[1]) != 1, turns.of_read(&[0, 2])), (1, true, 1));
    }
}
