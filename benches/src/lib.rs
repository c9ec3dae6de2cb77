//! The harness of every comparison: contestants do the same work, in turns, in one process.
//!
//! An area's program (`src/bin/compare-AREA.rs`) fills a [`Suite`] with [`Case`]s and runs it.
//! What the figures mean:
//!
//! - **Interleaved.** In each round every contestant has one burst, in an order drawn anew from a
//!   printed seed. So what disturbs the machine falls on all alike, and only ratios are compared.
//! - **Processor time.** [`single`] and [`contended`] count the thread's own processor time. A
//!   burst that had less than 98 % of its processor, or whose threads were together for less than
//!   90 % of it, is repeated up to seven times; then the best one counts, and the sample is marked.
//!   Where somebody waits asleep, [`contended_with_waits`] counts the time that passes, for all alike.
//! - **Heap.** [`allocations`] counts those of one operation, [`held`] the bytes for one key, in
//!   programs whose allocator is [`CountingOnDemand`]; nothing is counted while time is measured.
//! - **Median, low, high.** The 0.5, 0.1 and 0.9 quantiles over the rounds of one run. Marked
//!   samples are left out, unless they are more than half.
//! - **Ratios.** Two contestants are compared round by round, and the median of the rounds' ratios
//!   is told: above 1 means better, whatever the unit. If 1 lies between the low and the high of
//!   those ratios, the two are tied: for a target that counts as exactly 1, whether it helps us or
//!   not.
//! - **Three runs.** The whole set is played three times, each contestant built anew. The row
//!   shows the run in which our contestant had its middle median; a target is met only if every
//!   run meets it.

mod case;
mod counting_on_demand;
mod effort;
mod fence;
pub mod fleet;
mod machine;
mod measure;
mod options;
mod played;
mod report;
mod rounds;
mod shuffle;
mod stats;
mod stopwatch;
mod suite;
mod table;
mod target;
mod unit;

pub use case::{Case, Contestant};
pub use counting_on_demand::CountingOnDemand;
pub use fence::wait_for_all;
pub use measure::{
    Batch, Measure, allocations, contended, contended_with_waits, figure, held, single,
};
pub use options::Options;
pub use shuffle::Random;
pub use suite::Suite;
pub use target::Target;
pub use unit::Unit;
