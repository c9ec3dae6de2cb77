//! The Redis servers that limits are counted in.

use std::fmt;

use parking_lot::Mutex;
use stanchion_ratelimit::{InvalidServers, RedisServers, RedisStore, StoreSnapshot};
use tokio::runtime::Runtime;

use crate::build_error::BuildError;
use crate::config::Redis;

/// A connection to each Redis of a configuration; it outlives a reload that keeps its addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stores(Vec<(Redis, RedisStore)>);

/// The thread that the connections run on: one for all, and none until there is a Redis.
#[derive(Default)]
pub(crate) struct StoreThread(Mutex<Option<Runtime>>);

/// The servers of a configuration, not connected to yet.
pub(crate) fn servers(config: &Redis) -> Result<RedisServers, InvalidServers> {
    let mut servers = config.servers.iter().map(|server| &**server);
    if config.cluster {
        RedisServers::cluster(servers)
    } else {
        RedisServers::standalone(servers.next().unwrap_or_default())
    }
}

impl Stores {
    /// The stores of a configuration, those that are the same as `before` still connected.
    pub(crate) fn new(
        config: &[Redis],
        thread: &StoreThread,
        before: Option<&Self>,
    ) -> Result<Self, BuildError> {
        let stores = config.iter().map(|redis| {
            let mut before = before.into_iter().flat_map(|before| &before.0);
            let store = match before.find(|(known, _)| known == redis) {
                Some((_, store)) => store.clone(),
                None => thread.connect(redis)?,
            };
            Ok((redis.clone(), store))
        });
        stores.collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn find(&self, name: &str) -> Option<&RedisStore> {
        let mut stores = self.0.iter();
        stores
            .find(|(redis, _)| *redis.name == *name)
            .map(|(_, store)| store)
    }

    /// Each store's name, and how it does.
    pub(crate) fn snapshots(&self) -> impl Iterator<Item = (&str, StoreSnapshot)> {
        self.0
            .iter()
            .map(|(redis, store)| (&*redis.name, store.snapshot()))
    }
}

impl StoreThread {
    fn connect(&self, redis: &Redis) -> Result<RedisStore, BuildError> {
        let servers = servers(redis).map_err(BuildError::Servers)?;
        let mut runtime = self.0.lock();
        if runtime.is_none() {
            let built = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("redis")
                .enable_io()
                .enable_time()
                .build();
            *runtime = Some(built.map_err(BuildError::Runtime)?);
        }
        let handle = runtime.as_ref().map(|runtime| runtime.handle().clone());
        let handle = handle.expect("the runtime was just made");
        Ok(RedisStore::connect_on(servers, &handle))
    }
}

/// The last holder may be a task, where a runtime must not be waited for.
impl Drop for StoreThread {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.get_mut().take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for StoreThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreThread").finish_non_exhaustive()
    }
}
