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

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value,
    cmd, pipe,
};
use parking_lot::Mutex;
use stanchion_backoff::{Backoff, Jitter};
use stanchion_core::{Clock, Observe};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::detector::Detector;
use super::script::{Reply, Request};
use super::store::StoreEvent;

/// How long one attempt to connect may take.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Redirections that one call follows.
const REDIRECTS_MAX: u32 = 4;
/// Parts of a cluster's slots with a detector of their own.
const PARTS: u16 = 64;
const SLOTS: u16 = 16_384;
/// Commands that may wait to be written to one connection; the others wait for their turn.
const QUEUED_MAX: usize = 1_024;

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

#[derive(Clone, Debug)]
pub(super) enum Server {
    Standalone(Client),
    Cluster(Box<ClusterClient>),
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

/// One connection, and what it was like.
struct Session {
    connection: Connection,
    detectors: Vec<Mutex<Detector>>,
}

/// What is to be done over a connection.
#[derive(Clone, Copy)]
enum Errand<'a> {
    Script(&'a Request),
    Command(&'a Cmd),
}

#[derive(Clone)]
enum Connection {
    Standalone(MultiplexedConnection),
    Cluster(ClusterConnection),
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

/// Connects, and hears an answer on the new connection.
async fn connect(server: &Server) -> RedisResult<Session> {
    match server {
        Server::Standalone(client) => {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(None)
                .set_response_timeout(None)
                .set_pipeline_buffer_size(QUEUED_MAX);
            let connection = client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            send_once(connection.clone(), &cmd("PING")).await?;
            Ok(Session::new(Connection::Standalone(connection), 1))
        }
        Server::Cluster(client) => {
            let connection = client.get_async_connection().await?;
            Ok(Session::new(Connection::Cluster(connection), PARTS))
        }
    }
}

impl Shared {
    /// Asks Redis about keys in `slot`, and waits for at most `deadline`.
    pub(super) async fn ask(
        &self,
        request: &Request,
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

const NO_SCRIPT: ErrorKind = ErrorKind::Server(ServerErrorKind::NoScript);

/// What an error says of the server.
enum Failure {
    /// It answers, if not what was hoped for.
    Answer,
    /// It answers that it cannot serve now.
    Refusal,
    /// The connection is of no use.
    Broken,
}

impl Failure {
    fn of(error: &RedisError) -> Self {
        use ServerErrorKind as Kind;
        match error.kind() {
            ErrorKind::Server(
                Kind::BusyLoading
                | Kind::ClusterDown
                | Kind::MasterDown
                | Kind::ReadOnly
                | Kind::TryAgain
                | Kind::Moved
                | Kind::Ask,
            ) => Self::Refusal,
            ErrorKind::Server(_) | ErrorKind::Extension => Self::Answer,
            _ => Self::Broken,
        }
    }
}

impl Session {
    fn new(connection: Connection, parts: u16) -> Self {
        Self {
            connection,
            detectors: (0..parts).map(|_| Mutex::new(Detector::new())).collect(),
        }
    }

    fn detector(&self, slot: u16) -> &Mutex<Detector> {
        let part = usize::from(slot) * self.detectors.len() / usize::from(SLOTS);
        &self.detectors[part]
    }

    async fn run(&self, errand: Errand<'_>) -> RedisResult<Value> {
        match errand {
            Errand::Command(command) => self.send(command).await,
            Errand::Script(request) => match self.send(&request.by_hash()).await {
                // So it was certainly not run. The server lost its scripts, in a restart say.
                Err(error) if error.kind() == NO_SCRIPT => self.send(&request.by_text()).await,
                answer => answer,
            },
        }
    }

    async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        match self.connection.clone() {
            Connection::Standalone(connection) => send_once(connection, command).await,
            Connection::Cluster(connection) => send_to_cluster(connection, command).await,
        }
    }
}

/// Sends a command, once; what the server answers with an error is an error.
async fn send_once(mut connection: impl ConnectionLike, command: &Cmd) -> RedisResult<Value> {
    let answer = connection.req_packed_command(command).await?;
    answer.extract_error()
}

/// Sends a command to the node that holds its keys, and follows redirections, which say that it was
/// not run. Anything else is not tried again: it may have been.
///
/// A redirection is followed to the node that it names, as the connection, which learns the slots
/// anew, may hear of the old ones for a while.
async fn send_to_cluster(connection: ClusterConnection, command: &Cmd) -> RedisResult<Value> {
    let mut answer = send_once(connection.clone(), command).await;
    for _ in 0..REDIRECTS_MAX {
        let Err(error) = &answer else { break };
        let asks = match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => false,
            ErrorKind::Server(ServerErrorKind::Ask) => true,
            _ => break,
        };
        let Some(node) = redirected_to(error) else {
            break;
        };
        answer = send_to_node(connection.clone(), command, node, asks).await;
    }
    answer
}

fn redirected_to(error: &RedisError) -> Option<SingleNodeRoutingInfo> {
    let (node, _slot) = error.redirect_node()?;
    let (host, port) = node.rsplit_once(':')?;
    let (host, port) = (host.to_owned(), port.parse().ok()?);
    Some(SingleNodeRoutingInfo::ByAddress { host, port })
}

/// Sends a command to one node; one that `asks` is let in to a slot that is on its way there.
async fn send_to_node(
    mut connection: ClusterConnection,
    command: &Cmd,
    node: SingleNodeRoutingInfo,
    asks: bool,
) -> RedisResult<Value> {
    if !asks {
        let node = RoutingInfo::SingleNode(node);
        let answer = connection.route_command(command.clone(), node).await?;
        return answer.extract_error();
    }
    let mut asking = pipe();
    asking.cmd("ASKING").add_command(command.clone());
    let answers = connection.route_pipeline(asking, 0, 2, node).await?;
    answers
        .into_iter()
        .last()
        .unwrap_or(Value::Nil)
        .extract_error()
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
