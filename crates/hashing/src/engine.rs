//! The hashes of existing engines, exactly as those have them: which slot, partition or server a key
//! belongs to there. One file for each engine.

mod redis;

pub use redis::{REDIS_SLOTS, redis_slot};
