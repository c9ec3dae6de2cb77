//! Picks against plain definitions, over random fleets and random lives.

#[path = "model/fleet.rs"]
mod fleet;
#[path = "model/hashing.rs"]
mod hashing;
#[path = "model/lives.rs"]
mod lives;
#[path = "model/policies.rs"]
mod policies;
#[path = "model/tables.rs"]
mod tables;
#[path = "model/zones.rs"]
mod zones;
