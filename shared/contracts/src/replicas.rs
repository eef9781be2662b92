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
        self.ask(place, request).await
    }

    /// Asks one after the other until one is there.
    async fn read(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let mut left = self.channels.len();
        loop {
            let again = Request::from_parts(parts.clone(), Body::new(Full::new(body.clone())));
            let answered = self.ask(self.turns.of_read(), again).await;
            left -= 1;
            if left == 0 || !is_away(&answered) {
                return answered;
            }
        }
    }

    async fn ask(&self, place: usize, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let answered = self.channels[place].clone().oneshot(request).await;
        self.turns.note(place, is_away(&answered));
        answered.map_err(BoxError::from)
    }
}

/// Whether a server was not reached, or says itself that it cannot answer now.
fn is_away<E>(answered: &Result<Response<Body>, E>) -> bool {
    let Ok(answer) = answered else { return true };
    let status = answer.headers().get("grpc-status");
    status.is_some_and(|status| status.as_bytes() == UNAVAILABLE)
}

/// Which of several servers is asked. Commands go to the one that answered the last one, until it fails: it writes, or
/// forwards to the one that does. Reads go to each in turn, for each answers them by itself.
struct Turns {
    command: AtomicUsize,
    read: AtomicUsize,
    /// Those that failed when they were asked last.
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

    fn of_read(&self) -> usize {
        let (turn, servers) = (self.read.fetch_add(1, Ordering::Relaxed), self.away.len());
        if (turn / servers).is_multiple_of(ROUNDS_UNTIL_ASKED_AGAIN) {
            return turn % servers;
        }
        let mut places = (0..servers).map(|next| turn.wrapping_add(next) % servers);
        places.find(|place| !self.away[*place].load(Ordering::Relaxed)).unwrap_or(turn % servers)
    }

    fn note(&self, place: usize, is_away: bool) {
        self.away[place].store(is_away, Ordering::Relaxed);
        if is_away {
            let next = (place + 1) % self.away.len();
            // Of many calls that fail together the first one turns.
            let _ = self.command.compare_exchange(place, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(turns: &Turns, reads: usize) -> [usize; 3] {
        let mut asked = [0; 3];
        (0..reads).for_each(|_| asked[turns.of_read()] += 1);
        asked
    }

    #[test]
    fn reads_go_to_each_server_in_turn_and_commands_to_one_until_it_fails() {
        let turns = Turns::of(3);
        assert_eq!((asked(&turns, 30), turns.of_command()), ([10, 10, 10], 0));
        turns.note(0, false);
        assert_eq!(turns.of_command(), 0);
        turns.note(0, true);
        turns.note(0, true);
        assert_eq!(turns.of_command(), 1, "two that fail together turn once");
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
    }
}
