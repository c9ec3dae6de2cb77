#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod budget;
mod builder;
mod cache;
mod deadline;
mod flight;
mod hash;
mod invalid;
mod iter;
mod lifetime;
mod loading;
mod policy;
mod refresh;
mod removed;
mod shard;
mod snapshot;
mod stripe;
mod tags;
mod watches;

pub use ahash::RandomState;
pub use builder::CacheBuilder;
pub use cache::Cache;
pub use flight::LoadError;
pub use invalid::InvalidCache;
pub use iter::Iter;
pub use loading::{Loading, LoadingBuilder, Refresher};
pub use policy::Policy;
pub use refresh::Refresh;
pub use removed::{Cause, Removed};
pub use snapshot::Snapshot;
