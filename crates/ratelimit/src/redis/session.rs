//! One connection, and what goes over it.

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value,
    cmd, pipe,
};
use parking_lot::Mutex;

use super::detector::Detector;
use super::script::Request;

/// Redirections that one call follows.
const REDIRECTS_MAX: u32 = 4;
/// Parts of a cluster's slots with a detector of their own.
const PARTS: u16 = 64;
const SLOTS: u16 = 16_384;
/// Commands that may wait to be written to one connection; the others wait for their turn.
const QUEUED_MAX: usize = 1_024;

#[derive(Clone, Debug)]
pub(super) enum Server {
    Standalone(Client),
    Cluster(Box<ClusterClient>),
}

/// One connection, and what it was like.
pub(super) struct Session {
    pub(super) connection: Connection,
    detectors: Vec<Mutex<Detector>>,
}

/// What is to be done over a connection.
#[derive(Clone, Copy)]
pub(super) enum Errand<'a> {
    Script(&'a Request<'a>),
    Command(&'a Cmd),
}

#[derive(Clone)]
pub(super) enum Connection {
    Standalone(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Connects, and hears an answer on the new connection.
pub(super) async fn connect(server: &Server) -> RedisResult<Session> {
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

const NO_SCRIPT: ErrorKind = ErrorKind::Server(ServerErrorKind::NoScript);

/// What an error says of the server.
pub(super) enum Failure {
    /// It answers, if not what was hoped for.
    Answer,
    /// It answers that it cannot serve now.
    Refusal,
    /// The connection is of no use.
    Broken,
}

impl Failure {
    pub(super) fn of(error: &RedisError) -> Self {
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

    pub(super) fn detector(&self, slot: u16) -> &Mutex<Detector> {
        let part = usize::from(slot) * self.detectors.len() / usize::from(SLOTS);
        &self.detectors[part]
    }

    pub(super) async fn run(&self, errand: Errand<'_>) -> RedisResult<Value> {
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
