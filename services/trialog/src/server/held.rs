//! What goes on in this process only while it holds its logs: calls, the streams of their answers, and tasks.
//!
//! A process that has stood still does not know that. So whether its lease is good is looked at each time before
//! anything goes on, by a clock that has not stood still: it finds out before it does outside what another one does by
//! now. What it writes is fenced in any case.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use eventlog::{Error, EventLog};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, select_all};
use http_body::{Frame, SizeHint};
use runtime::{Attempt, Shutdown, Task};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::{HeaderMap, HeaderValue, Request};
use tonic::service::Routes;
use tower::ServiceExt;

use super::listen;

/// The logs of this process, which other processes reach.
#[derive(Clone)]
pub struct Held(Arc<[EventLog]>);

impl Held {
    /// These logs.
    pub fn new(logs: Vec<EventLog>) -> Self {
        Self(logs.into())
    }

    fn assert(&self) -> Result<(), Error> {
        self.0.iter().try_for_each(EventLog::assert_current)
    }

    /// Waits until one of them is not held any more, and answers why.
    fn lapse(&self) -> BoxFuture<'static, Error> {
        let logs = Arc::clone(&self.0);
        Box::pin(async move {
            if logs.is_empty() {
                return std::future::pending().await;
            }
            select_all(logs.iter().map(|log| Box::pin(log.lapsed()))).await.0
        })
    }

    /// Waits until all of them are held again.
    fn again(&self) -> BoxFuture<'static, ()> {
        let held = self.clone();
        Box::pin(async move {
            while held.assert().is_err() {
                for log in held.0.iter() {
                    log.current().await;
                }
            }
        })
    }

    /// Does something while the logs are held, and gives it up when they are not.
    async fn or_lapse<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        let (mut work, mut lapse) = (std::pin::pin!(work), self.lapse());
        std::future::poll_fn(|context| {
            self.assert()?;
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(done));
            }
            lapse.poll_unpin(context).map(Err)
        })
        .await
    }

    /// A task that stands still while the logs are not held, and then goes on where it was: it would be no use to begin
    /// it anew, since either nobody else has written, or this process ends.
    pub fn task(&self, task: Task) -> Task {
        let held = self.clone();
        task.through(move |attempt| Box::pin(Pausing { held: held.clone(), attempt, again: None }))
    }

    /// Routes that answer only while the logs are held here, and whose streams end with that: what was read after they
    /// were taken over is not sent.
    pub fn routes(&self, routes: Routes) -> Routes {
        let held = self.clone();
        listen::routed(move |request: Request<Body>| {
            let (routes, held) = (routes.clone(), held.clone());
            async move {
                match held.or_lapse(routes.oneshot(request)).await {
                    Ok(answer) => {
                        let answer = answer.unwrap_or_else(|never| match never {});
                        let lapse = held.lapse();
                        answer.map(|body| Body::new(Streamed { body, held, lapse, is_over: false }))
                    }
                    Err(error) => {
                        let mut answer = refusal(&error).into_http();
                        answer.headers_mut().insert(contracts::AWAY, HeaderValue::from_static("1"));
                        answer
                    }
                }
            }
        })
    }

    /// Says when they are not held any more, and when they are again.
    pub async fn tell(self, shutdown: Shutdown) -> anyhow::Result<()> {
        loop {
            let error = tokio::select! {
                error = self.lapse() => error,
                () = shutdown.requested() => return Ok(()),
            };
            tracing::error!("calls are refused, streams have ended and tasks stand still: {error}");
            tokio::select! {
                () = self.again() => tracing::info!("the logs are held again, and everything goes on"),
                () = shutdown.requested() => return Ok(()),
            }
        }
    }
}

fn refusal(error: &Error) -> Status {
    contracts::status_of(&error.problem())
}

/// An attempt that goes on only while the logs are held.
struct Pausing {
    held: Held,
    attempt: Attempt,
    /// While they are not.
    again: Option<BoxFuture<'static, ()>>,
}

impl Future for Pausing {
    type Output = anyhow::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while this.held.assert().is_err() {
            let again = this.again.get_or_insert_with(|| this.held.again());
            std::task::ready!(again.poll_unpin(context));
            this.again = None;
        }
        this.attempt.poll_unpin(context)
    }
}

/// The body of an answer, which ends when the logs are not held any more.
struct Streamed {
    body: Body,
    held: Held,
    lapse: BoxFuture<'static, Error>,
    is_over: bool,
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        let lapsed = match this.held.assert() {
            Err(error) => Some(error),
            Ok(()) => match this.lapse.poll_unpin(context) {
                Poll::Ready(error) => Some(error),
                Poll::Pending => None,
            },
        };
        let Some(error) = lapsed else { return Pin::new(&mut this.body).poll_frame(context) };
        this.is_over = true;
        let (status, mut trailers) = (refusal(&error), HeaderMap::new());
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[cfg(feature = "postgres")]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use eventlog::{Holder, Options, Store};
    use http_body::Body as _;
    use tokio::sync::Notify;
    use vocabulary::{ManualClock, SeededEntropy};

    use super::*;

    /// A log that is held, and the clock by which its lease runs out.
    async fn held() -> Option<(Held, Arc<ManualClock>)> {
        let (url, schema) = (testkit::postgres()?, testkit::new_schema());
        let holder = Holder { name: "a".to_owned(), address: String::new(), keeps_files_of: &[] };
        let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
        let options = Options {
            service: "sweeps",
            store: Store::postgres(&url, &schema).unwrap().held_by(holder),
            migrations: &[],
            views: Vec::new(),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(7)),
        };
        Some((Held::new(vec![EventLog::open(options).await.unwrap()]), clock))
    }

    /// As long as a process stands still until its lease is over; nothing of it runs meanwhile.
    fn stand_still(clock: &ManualClock) {
        clock.advance_us(3_000_000);
    }

    #[tokio::test]
    async fn who_has_stood_still_does_nothing_outside_before_it_knows_whether_it_holds_its_logs() {
        // It called webhooks and sent facts for a second, while another one did the same.
        let Some((held, clock)) = held().await else { return };
        let (due, effects) = (Arc::new(Notify::new()), Arc::new(AtomicU32::new(0)));
        let (timer, count) = (Arc::clone(&due), Arc::clone(&effects));
        let attempt: Attempt = Box::pin(async move {
            loop {
                timer.notified().await;
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let mut task = Pausing { held: held.clone(), attempt, again: None };
        let mut call = Box::pin(held.or_lapse(std::future::pending::<()>()));
        due.notify_one();
        assert!((&mut task).now_or_never().is_none() && (&mut call).now_or_never().is_none());
        assert_eq!(effects.load(Ordering::SeqCst), 1);
        stand_still(&clock);
        due.notify_one();
        assert!((&mut task).now_or_never().is_none());
        assert_eq!(effects.load(Ordering::SeqCst), 1, "nobody knows who holds the log");
        assert!(matches!((&mut call).now_or_never(), Some(Err(Error::Lapsed(_)))));
        // Nobody has taken it: it is renewed, and what was due is done.
        tokio::spawn(task);
        let is_done = async || if effects.load(Ordering::SeqCst) == 2 { Ok(()) } else { Err("it stands still") };
        testkit::await_that_async(std::time::Duration::from_secs(20), is_done).await;
        held.assert().unwrap();
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_lease() {
        // Who read from it saw nothing new for as long as the connection lasted, and did not turn to another one.
        let Some((held, clock)) = held().await else { return };
        let (send, receive) = tokio::sync::mpsc::unbounded_channel::<Result<Frame<Bytes>, Status>>();
        let body = Body::new(Piped(receive));
        let lapse = held.lapse();
        let mut streamed = Streamed { body, held, lapse, is_over: false };
        let mut next = async || std::future::poll_fn(|context| Pin::new(&mut streamed).poll_frame(context)).await;
        send.send(Ok(Frame::data(Bytes::from_static(b"one")))).unwrap();
        assert!(next().await.unwrap().unwrap().is_data());
        assert!(next().now_or_never().is_none(), "nothing new");
        send.send(Ok(Frame::data(Bytes::from_static(b"two")))).unwrap();
        stand_still(&clock);
        let trailers = next().now_or_never().unwrap().unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "14", "{trailers:?}");
        assert!(next().await.is_none());
    }

    struct Piped(tokio::sync::mpsc::UnboundedReceiver<Result<Frame<Bytes>, Status>>);

    impl http_body::Body for Piped {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.0.poll_recv(context)
        }
    }
}
