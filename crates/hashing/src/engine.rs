//! The hashes of existing engines, exactly as those have them: which slot, partition or server a key
//! belongs to there. One file for each engine.

#[cfg(feature = "ketama")]
mod ketama;
mod redis;

#[cfg(feature = "ketama")]
pub use ketama::{libketama_hash, nginx_hash};
pub use redis::{REDIS_SLOTS, redis_slot};
