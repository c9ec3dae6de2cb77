//! The fixture for real servers.

mod processes;
mod redis;
mod script;
