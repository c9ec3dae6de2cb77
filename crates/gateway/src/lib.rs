#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod access_log;
mod admin;
mod affinity;
mod balance;
mod bell;
mod body_limit;
mod breaker;
mod build_error;
mod check;
mod client;
mod config;
mod connection;
mod event;
mod exchange;
mod fields;
mod forward;
mod gateway;
mod gathered;
mod guard;
mod hop_by_hop;
mod limit;
mod listener;
mod metrics;
mod pace;
mod places;
mod problem;
mod record;
mod reload;
mod request_id;
mod rewrite;
mod router;
mod shared;
mod snapshot;
mod stack;
mod switch;
mod timer;
mod trace;
mod upkeep;
mod upstream;
mod worker;

pub use config::{Config, ConfigError, Mistake, ReadError};
pub use event::Event;
pub use gateway::{Gateway, Report, StartError};
pub use reload::{ConfigStatus, FailedReload, ReloadError, Reloaded};
pub use switch::{InvalidSwitch, Switch};
