//! A fleet of servers and its clients in virtual time: how balancing policies fare.
//!
//! Clients share nothing but the servers. Each call goes out at a random moment (Poisson), reaches
//! its server after half a round trip, waits in the server's queue for a free core, and is answered.
//! Servers differ in speed, and may be slowed from time to time by something else on their machine (an
//! *antagonist*), fail, vanish, or join late. A run is a function of its [`Scenario`], its seed and
//! its [`Chooser`], so the same figures come out on every machine.
//!
//! The model is that of B. Wydrowski, R. Kleinberg, S. Rumble, A. Archer, *Load is not what you
//! should balance: Introducing Prequal*, NSDI 2024, section 5, with a lognormal demand.

mod chooser;
mod demand;
mod play;
mod scenario;
mod server;
mod speed;
mod tally;

pub use chooser::{Balancers, Chooser, Fresh, Stale, Ticket, World};
pub use play::play;
pub use scenario::{Change, Demand, Fault, FaultKind, Scenario, Speeds};
pub use tally::Tally;

/// Nanoseconds of virtual time since the run began.
pub type Nanos = u64;

/// A second.
pub const SECOND: Nanos = 1_000_000_000;
/// A millisecond.
pub const MILLISECOND: Nanos = 1_000_000;
