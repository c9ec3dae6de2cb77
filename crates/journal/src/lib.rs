#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod acked;
#[cfg(feature = "tokio")]
mod async_journal;
mod config;
mod damage;
mod entry;
mod error;
pub mod folder;
mod header;
mod journal;
mod log;
mod recovery;
mod replay;
mod scan;

#[cfg(feature = "tokio")]
pub use async_journal::{AsyncJournal, AsyncReplay};
pub use config::{Config, InvalidConfig, OnDamage, SyncPolicy};
pub use damage::{Damage, Lost, Recovery};
pub use error::{AckError, AppendError, Failed, OpenError, Poisoned, ReplayError};
pub use journal::{Journal, Snapshot};
pub use replay::{Record, Replay};
