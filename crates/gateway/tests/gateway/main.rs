//! The gateway over real sockets, with clients and origins that write and read HTTP by hand.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod http2;
mod nginx;
mod origin2;
mod setup;
mod wire;

mod admin;
mod balance;
mod bodies;
mod breaker;
mod checks;
mod discovery;
mod failures;
mod fields;
mod framing;
mod h2_floods;
mod h2_in;
mod h2_messages;
mod h2_out;
mod health;
mod limit_store;
mod limit_tiers;
mod limits;
mod limits_together;
mod observation;
mod origin_killed;
mod page;
mod pool;
mod processes;
mod program;
mod reload;
mod reload_model;
mod rewrite;
mod routing;
mod sessions;
mod shutdown;
mod trace;
