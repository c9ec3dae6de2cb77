#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod anchor;
mod bounded;
mod circle;
mod consistent;
pub mod engine;
mod equals;
#[cfg(feature = "serde")]
mod file;
mod hash;
mod id;
mod invalid;
mod jump;
mod ln;
mod maglev;
mod node;
mod prime;
mod rendezvous;
mod ring;
mod roster;
mod scatter;

pub use anchor::{Anchor, AnchorHistory, AnchorOwners};
pub use bounded::{Bounded, Capacities, LoadFactor};
pub use consistent::ConsistentHash;
pub use hash::{HASH_VERSION, key_hash};
pub use invalid::{InvalidLoadFactor, InvalidTable};
pub use jump::{Jump, JumpHistory, JumpOwners, jump};
pub use maglev::{Maglev, MaglevOwners};
pub use node::Node;
pub use rendezvous::{Rendezvous, RendezvousOwners};
pub use ring::{Points, Ring, RingOwners};
pub use roster::NODES_MAX;
