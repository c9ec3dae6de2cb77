//! What Stanchion's tests are made with.

mod gate;
mod probe;
mod strict;
mod waiters;

pub use gate::{Gate, Gated, GatedFuture, Pass};
pub use probe::Probe;
pub use strict::{Strict, StrictFuture, StrictHandle};
