use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ahash::RandomState;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::Parts;
use super::queue::Job;
#[cfg(feature = "tokio")]
use super::sweep::Sweep;

/// Does the refreshes of a [`Loading`](crate::Loading) cache: a future to be spawned, or polled
/// beside others. Ends when the last handle of the cache is dropped, and takes along what it was
/// loading; dropped before, it leaves a cache that refreshes nothing.
///
/// Loads are polled on the task that polls this, so they should not block it.
#[must_use = "a refresher does nothing unless it is polled"]
pub struct Refresher<K, V, S = RandomState> {
    parts: Arc<Parts<K, V, S>>,
    jobs: FuturesUnordered<Job<K, V, S>>,
    #[cfg(feature = "tokio")]
    sweep: Option<Sweep<K>>,
}

impl<K, V, S> Refresher<K, V, S> {
    pub(super) fn new(
        parts: Arc<Parts<K, V, S>>,
        #[cfg(feature = "tokio")] sweep: Option<Sweep<K>>,
    ) -> Self {
        Self {
            parts,
            jobs: FuturesUnordered::new(),
            #[cfg(feature = "tokio")]
            sweep,
        }
    }
}

impl<K, V, S> Unpin for Refresher<K, V, S> {}

impl<K, V, S> Future for Refresher<K, V, S>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            #[cfg(feature = "tokio")]
            if let Some(sweep) = &mut this.sweep {
                sweep.poll(cx, &this.parts);
            }
            let Some(jobs) = this.parts.queue.take(cx) else {
                this.jobs.clear();
                return Poll::Ready(());
            };
            this.jobs.extend(jobs);
            // What a load brought went into the cache with its end; a failure is counted there.
            match this.jobs.poll_next_unpin(cx) {
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<K, V, S> Drop for Refresher<K, V, S> {
    fn drop(&mut self) {
        self.parts.queue.close();
    }
}

impl<K, V, S> fmt::Debug for Refresher<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresher")
            .field("refreshes", &self.jobs.len())
            .finish_non_exhaustive()
    }
}
