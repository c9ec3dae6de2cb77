#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod circle;
mod consistent;
mod hash;
mod invalid;
mod ln;
mod node;
mod rendezvous;
mod ring;
mod roster;

pub use consistent::ConsistentHash;
pub use hash::{HASH_VERSION, key_hash};
pub use invalid::InvalidTable;
pub use node::Node;
pub use rendezvous::{Rendezvous, RendezvousOwners};
pub use ring::{Points, Ring, RingOwners};
pub use roster::NODES_MAX;
