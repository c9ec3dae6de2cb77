//! The connection to Redis: made in the background, replaced when it fails, given up for a while
//! when nobody answers.
//!
//! One task on the runtime that the store was given makes connections. While there is none, calls
//! are told so at once. A standalone server that goes silent loses its connection, and the task
//! asks for it; so no call waits for a server that is known to be away. A cluster keeps one
//! connection to all nodes, and a [`Detector`] for each part of the slots lets a call in turn ask
//! whether its node is back.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use ::redis::{Cmd, Value};
use stanchion_backoff::{Backoff, Jitter};
use stanchion_core::{Clock, Observe};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::script::{Reply, Request};
use super::session::{Connection, Errand, Failure, Server, Session, connect};
use super::store::StoreEvent;

/// How long one attempt to connect may take.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// Why Redis said nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// It is known to be away, and was not asked.
    Away,
    /// The answer did not come in time; the request may have been counted.
    TimedOut,
    /// The connection broke, or the server refused to run the script.
    Failed,
}

/// Ends its task when it is dropped.
pub(super) struct Link {
    shared: Arc<Shared>,
    keeper: AbortHandle,
}

pub(super) struct Shared {
    state: watch::Sender<State>,
    backoff: Backoff,
    pub(super) clock: Clock,
    random: Random,
    observer: Option<Box<dyn Observe<StoreEvent> + Send + Sync>>,
    pub(super) counts: Counts,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) asked: AtomicU64,
    pub(super) timed_out: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) not_asked: AtomicU64,
    pub(super) connected: AtomicU64,
}

#[derive(Clone)]
enum State {
    /// Nothing is known yet: calls wait, each to its own deadline.
    Connecting,
    Up(Arc<Session>),
    Away,
}

impl Link {
    pub(super) fn new(
        server: Server,
        handle: &Handle,
        clock: Clock,
        backoff: Backoff,
        observer: Option<Box<dyn Observe<StoreEvent> + Send + Sync>>,
    ) -> Self {
        let shared = Arc::new(Shared {
            state: watch::Sender::new(State::Connecting),
            backoff,
            clock,
            random: Random::new(),
            observer,
            counts: Counts::default(),
        });
        let keeper = handle.spawn(keep(server, shared.clone())).abort_handle();
        Self { shared, keeper }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
        // What is still asked ends with its own deadline; the connection ends with the last of it.
        self.shared.state.send_replace(State::Away);
    }
}

/// Makes a connection whenever there is none.
async fn keep(server: Server, shared: Arc<Shared>) {
    let mut states = shared.state.subscribe();
    let mut attempt = 0;
    loop {
        let connected = within(&shared.clock, CONNECT_MAX, connect(&server)).await;
        match connected {
            Some(Ok(session)) => {
                shared.become_up(session);
                let waits = states.wait_for(|state| matches!(state, State::Away));
                if waits.await.is_err() {
                    return;
                }
                // One that answers and breaks at once is not tried without a pause either.
                attempt = 0;
            }
            Some(Err(_)) | None => {
                shared.become_away();
                attempt += 1;
            }
        }
        let wait = shared
            .backoff
            .jittered(attempt, Jitter::Equal, shared.random.next());
        shared.clock.sleep(wait).await;
    }
}

impl Shared {
    /// Asks Redis about keys in `slot`, and waits for at most `deadline`.
    pub(super) async fn ask(
        &self,
        request: &Request<'_>,
        slot: u16,
        deadline: Duration,
    ) -> Result<Reply, Silence> {
        let answer = self.in_time(slot, deadline, Errand::Script(request));
        request.read(&answer.await?).ok_or(Silence::Failed)
    }

    /// Runs one command on keys in `slot`, and waits for at most `deadline`.
    pub(super) async fn run(
        &self,
        command: &Cmd,
        slot: u16,
        deadline: Duration,
    ) -> Result<Value, Silence> {
        self.in_time(slot, deadline, Errand::Command(command)).await
    }

    async fn in_time(
        &self,
        slot: u16,
        deadline: Duration,
        errand: Errand<'_>,
    ) -> Result<Value, Silence> {
        let mut asked = None;
        let answer = {
            let asking = async {
                let session = self.session(slot).await?;
                asked = Some(session.clone());
                count(&self.counts.asked);
                Ok(session.run(errand).await)
            };
            within(&self.clock, deadline, asking).await
        };
        match (answer, asked) {
            (Some(Err(silence)), _) => {
                count(&self.counts.not_asked);
                Err(silence)
            }
            (None, None) => {
                count(&self.counts.timed_out);
                Err(Silence::TimedOut)
            }
            (None, Some(session)) => {
                count(&self.counts.timed_out);
                self.missed(&session, slot);
                Err(Silence::TimedOut)
            }
            (Some(Ok(answer)), session) => {
                let session = session.expect("who was answered has asked");
                match &answer {
                    Ok(_) => self.answered(&session, slot),
                    Err(error) => match Failure::of(error) {
                        Failure::Answer => self.answered(&session, slot),
                        Failure::Refusal => self.missed(&session, slot),
                        Failure::Broken => self.broken(&session, slot),
                    },
                }
                answer.map_err(|_| {
                    count(&self.counts.failed);
                    Silence::Failed
                })
            }
        }
    }

    /// The session to ask through; waits while the first connection is being made.
    async fn session(&self, slot: u16) -> Result<Arc<Session>, Silence> {
        let mut state = self.state.borrow().clone();
        if matches!(state, State::Connecting) {
            let mut states = self.state.subscribe();
            let known = states.wait_for(|state| !matches!(state, State::Connecting));
            state = known.await.map_err(|_| Silence::Away)?.clone();
        }
        let State::Up(session) = state else {
            return Err(Silence::Away);
        };
        let (now, random) = (self.clock.now(), self.random.next());
        let admits = session
            .detector(slot)
            .lock()
            .admits(&self.backoff, now, random);
        if admits {
            Ok(session)
        } else {
            Err(Silence::Away)
        }
    }

    fn answered(&self, session: &Session, slot: u16) {
        let back = session.detector(slot).lock().answered();
        if back {
            self.observe(StoreEvent::Answers);
        }
    }

    fn missed(&self, session: &Arc<Session>, slot: u16) {
        let (now, random) = (self.clock.now(), self.random.next());
        let begins = session
            .detector(slot)
            .lock()
            .missed(&self.backoff, now, random);
        if !begins {
            return;
        }
        match session.connection {
            Connection::Standalone(_) => self.lose(session),
            // Its other nodes may answer.
            Connection::Cluster(_) => self.observe(StoreEvent::Away),
        }
    }

    fn broken(&self, session: &Arc<Session>, slot: u16) {
        match session.connection {
            Connection::Standalone(_) => self.lose(session),
            Connection::Cluster(_) => self.missed(session, slot),
        }
    }

    /// Gives a session up, unless another has taken its place already.
    fn lose(&self, session: &Arc<Session>) {
        let lost = self.state.send_if_modified(|state| {
            let current = matches!(state, State::Up(current) if Arc::ptr_eq(current, session));
            if current {
                *state = State::Away;
            }
            current
        });
        if lost {
            self.observe(StoreEvent::Away);
        }
    }

    fn become_up(&self, session: Session) {
        count(&self.counts.connected);
        self.state.send_replace(State::Up(Arc::new(session)));
        self.observe(StoreEvent::Answers);
    }

    fn become_away(&self) {
        let before = self.state.send_replace(State::Away);
        if !matches!(before, State::Away) {
            self.observe(StoreEvent::Away);
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(*self.state.borrow(), State::Up(_))
    }

    fn observe(&self, event: StoreEvent) {
        if let Some(observer) = &self.observer {
            observer.observe(&event);
        }
    }
}

/// The output of `future`, or `None` when it takes longer than `limit`.
async fn within<F: Future>(clock: &Clock, limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut end = pin!(clock.sleep(limit));
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        end.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// Random bits, for jitter.
struct Random {
    seed: RandomState,
    drawn: AtomicU64,
}

impl Random {
    fn new() -> Self {
        Self {
            seed: RandomState::new(),
            drawn: AtomicU64::new(0),
        }
    }

    fn next(&self) -> u64 {
        self.seed
            .hash_one(self.drawn.fetch_add(1, Ordering::Relaxed))
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
