//! What `tower::discover` tells, told here.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use arc_swap::ArcSwap;
use futures_core::Stream;
use pin_project_lite::pin_project;
use tower::discover::{Change, Discover};

use super::{Discovery, Update};
use crate::balance::connect::private::Sealed;
use crate::{Balance, Balancer, Connect, Endpoint};

/// The service of an endpoint that tower discovered; clones share it, and when it is inserted anew
/// all of them are the new one.
pub struct Discovered<S> {
    service: Arc<ArcSwap<S>>,
}

impl<S> Discovered<S> {
    /// The service as it was inserted last.
    #[must_use]
    pub fn service(&self) -> Arc<S> {
        self.service.load_full()
    }
}

/// Clones the service that was inserted last.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct FromDiscovered;

impl Sealed for FromDiscovered {}

impl<S: Clone> Connect<Discovered<S>> for FromDiscovered {
    type Service = S;

    #[inline]
    fn connect(&self, address: &Discovered<S>) -> S {
        S::clone(&address.service.load())
    }
}

impl<S> Balance<Discovered<S>, FromDiscovered> {
    /// A balance over what tower's `discover` finds, and the [`Discovery`] that has to be driven for
    /// it. Keys become ids.
    ///
    /// A key that is inserted again while it is there, or is removed and inserted in one batch, keeps
    /// its calls in flight; new calls go to the new service.
    ///
    /// # Examples
    ///
    /// ```
    /// use stanchion_lb::{Balance, Balancer, policy::P2c};
    /// use tower::discover::ServiceList;
    /// use tower::{ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let double = service_fn(|request: u32| async move { Ok::<u32, std::io::Error>(request * 2) });
    /// let found = ServiceList::new::<u32>(vec![double, double]);
    /// let (balance, discovery) = Balance::from_discover(Balancer::new(P2c::new()), found);
    /// tokio::spawn(discovery.run());
    /// # tokio::task::yield_now().await;
    /// assert_eq!(balance.oneshot(21).await?, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_discover<D>(
        balancer: Balancer<Discovered<S>>,
        discover: D,
    ) -> (Self, Discovery<Discovered<S>, FromTower<D>>)
    where
        D: Discover<Service = S, Key: Hash + ToString>,
    {
        let discovery = Discovery::new(&balancer, FromTower::new(discover));
        (Self::over(balancer, FromDiscovered), discovery)
    }
}

pin_project! {
    /// The changes that tower's `Discover` tells, as updates.
    pub struct FromTower<D>
    where
        D: Discover,
    {
        #[pin]
        discover: D,
        // Also of keys that were removed and have calls in flight still.
        services: HashMap<D::Key, Weak<ArcSwap<D::Service>>>,
        // How many there may be before those are forgotten that nobody calls.
        services_max: usize,
    }
}

impl<D: Discover<Key: Hash>> FromTower<D> {
    /// Tells what `discover` does.
    pub fn new(discover: D) -> Self {
        Self {
            discover,
            services: HashMap::new(),
            services_max: 0,
        }
    }
}

impl<D> Stream for FromTower<D>
where
    D: Discover<Key: Hash + ToString>,
{
    type Item = Result<Update<Discovered<D::Service>>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        let change = match ready!(this.discover.poll_discover(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            Some(Ok(change)) => change,
        };
        Poll::Ready(Some(Ok(match change {
            Change::Remove(key) => Update::Delta {
                removed: vec![key.to_string().into()],
                upserted: Vec::new(),
            },
            Change::Insert(key, service) => {
                if this.services.len() >= *this.services_max {
                    this.services
                        .retain(|_, service| service.strong_count() > 0);
                    *this.services_max = 2 * this.services.len() + 16;
                }
                let id = key.to_string();
                let known = this.services.get(&key).and_then(Weak::upgrade);
                let service = match known {
                    Some(known) => {
                        known.store(Arc::new(service));
                        known
                    }
                    None => {
                        let new = Arc::new(ArcSwap::from_pointee(service));
                        this.services.insert(key, Arc::downgrade(&new));
                        new
                    }
                };
                Update::Delta {
                    removed: Vec::new(),
                    upserted: vec![Endpoint::new(id, Discovered { service })],
                }
            }
        })))
    }
}

impl<S> Clone for Discovered<S> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
        }
    }
}

impl<S> PartialEq for Discovered<S> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.service, &other.service)
    }
}

impl<S> Eq for Discovered<S> {}

impl<S> fmt::Debug for Discovered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovered").finish_non_exhaustive()
    }
}

impl<D: Discover> fmt::Debug for FromTower<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromTower")
            .field("services", &self.services.len())
            .finish_non_exhaustive()
    }
}
