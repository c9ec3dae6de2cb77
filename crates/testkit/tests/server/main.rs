//! The fixture for real servers.

mod processes;
mod redis;
mod redis_cluster;
mod script;
