//! A Redis Cluster of three masters.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Redis, RedisServer};
use crate::eventually::holds_within;
use crate::server::{Server, port};

/// How long the nodes may take to agree.
const AGREE_MAX: Duration = Duration::from_secs(30);
const SLOTS: u16 = 16_384;
const NODES: u16 = 3;

/// Three `redis-server` processes that share the 16,384 slots, without replicas.
///
/// A node that is killed takes its slots with it; the others go on with theirs.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts the nodes, gives each a third of the slots, and waits until all agree. `None` when
    /// `redis-server` is not installed, as with [`Server::start`].
    ///
    /// # Panics
    /// As [`Server::start`] does, and when the nodes do not agree within 30 seconds.
    #[must_use]
    #[track_caller]
    pub fn start() -> Option<Self> {
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            // The port of the cluster's own bus would else lie 10,000 above, where Linux takes
            // ports for outgoing connections.
            let bus = port::free().to_string();
            let spec = Redis::new()
                .option("cluster-enabled", "yes")
                .option("cluster-port", &bus)
                .option("cluster-node-timeout", "5000")
                .option("cluster-require-full-coverage", "no");
            nodes.push((Server::start(spec)?, bus));
        }
        let (first, first_bus) = (nodes[0].0.addr(), nodes[0].1.clone());
        for (index, (node, _)) in (0..NODES).zip(&nodes) {
            let slots = |index: u16| u32::from(SLOTS) * u32::from(index) / u32::from(NODES);
            let (from, to) = (slots(index), slots(index + 1) - 1);
            tell(node, &format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1));
            tell(node, &format!("CLUSTER ADDSLOTSRANGE {from} {to}"));
            if index > 0 {
                let (ip, port) = (first.ip(), first.port());
                tell(node, &format!("CLUSTER MEET {ip} {port} {first_bus}"));
            }
        }
        let cluster = Self {
            nodes: nodes.into_iter().map(|(node, _)| node).collect(),
        };
        cluster.wait_until(&format!("cluster_known_nodes:{NODES}\r\n"));
        cluster.wait_until("cluster_state:ok\r\n");
        Some(cluster)
    }

    /// The nodes, each a server to be killed, frozen and restarted.
    #[must_use]
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The nodes, each a server to be killed, frozen and restarted.
    pub fn nodes_mut(&mut self) -> &mut [RedisServer] {
        &mut self.nodes
    }

    /// Where clients connect: the addresses of all nodes.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }

    /// The slot that `key` lies in.
    ///
    /// # Panics
    /// When the first node does not answer.
    #[must_use]
    #[track_caller]
    pub fn slot_of(&self, key: &str) -> u16 {
        let slot = tell(&self.nodes[0], &format!("CLUSTER KEYSLOT {key}"));
        slot.parse().expect("a number of a slot")
    }

    /// The node, by its place in [`nodes`](Self::nodes), that holds the slot of `key`.
    ///
    /// # Panics
    /// When no node that answers holds it.
    #[must_use]
    #[track_caller]
    pub fn holder_of(&self, key: &str) -> usize {
        let answers_for = |node: &RedisServer| match node.ask(&format!("EXISTS {key}")) {
            Ok(_) => true,
            Err(error) => !error.to_string().starts_with("MOVED"),
        };
        let holder = self.nodes.iter().position(answers_for);
        holder.unwrap_or_else(|| panic!("no node holds {key:?}"))
    }

    /// Moves the slot of `keys`, all the keys that lie in it, to the node `to`; clients are
    /// redirected from then on.
    ///
    /// # Panics
    /// When `keys` is empty or a node refuses.
    #[track_caller]
    pub fn move_slot(&self, keys: &[&str], to: usize) {
        let from = &self.nodes[self.holder_of(keys[0])];
        self.begin_move(keys[0], to);
        let slot = self.slot_of(keys[0]);
        let to = &self.nodes[to];
        for key in keys {
            let (ip, port) = (to.addr().ip(), to.addr().port());
            tell(from, &format!("MIGRATE {ip} {port} {key} 0 5000"));
        }
        let id = tell(to, "CLUSTER MYID");
        for node in [to, from] {
            tell(node, &format!("CLUSTER SETSLOT {slot} NODE {id}"));
        }
    }

    /// Begins to move the slot of `key` to the node `to`: from then on the node that holds it
    /// answers for keys that it has, and sends clients to `to` for others.
    ///
    /// # Panics
    /// When a node refuses.
    #[track_caller]
    pub fn begin_move(&self, key: &str, to: usize) {
        let (slot, from) = (self.slot_of(key), self.holder_of(key));
        let id = |node: usize| tell(&self.nodes[node], "CLUSTER MYID");
        let (from_id, to_id) = (id(from), id(to));
        let set = |node: usize, how: &str| {
            tell(&self.nodes[node], &format!("CLUSTER SETSLOT {slot} {how}"));
        };
        set(to, &format!("IMPORTING {from_id}"));
        set(from, &format!("MIGRATING {to_id}"));
    }

    #[track_caller]
    fn wait_until(&self, line: &str) {
        let info = |node: &RedisServer| node.ask("CLUSTER INFO").unwrap_or_default();
        let agree = || self.nodes.iter().all(|node| info(node).contains(line));
        if holds_within(AGREE_MAX, agree) {
            return;
        }
        let mut said = String::new();
        for node in &self.nodes {
            let _ = write!(said, "\n{}:\n{}\n{}", node.addr(), info(node), node.log());
        }
        panic!("the nodes did not all say {line:?} within {AGREE_MAX:?}:{said}");
    }
}

#[track_caller]
fn tell(node: &RedisServer, command: &str) -> String {
    node.ask(command)
        .unwrap_or_else(|error| panic!("{command:?} at {}: {error}", node.addr()))
}
