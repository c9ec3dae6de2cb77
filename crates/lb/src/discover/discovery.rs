use std::fmt;
use std::future::poll_fn;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use stanchion_core::{Observe, Sleep};

use super::known::{Known, Taken};
use super::{Discover, Event, Update};
use crate::balancer::WeakBalancer;
use crate::{Balancer, Endpoint, Updated};

/// Updates that one poll takes before it lets others run.
const UPDATES_MAX: u32 = 128;

/// Applies what a [`Discover`] tells to a [`Balancer`]; driven by whoever awaits it.
///
/// The first update is applied at once, later ones in batches: all that come within the debounce time
/// of the first of them are one change of the balancer. An endpoint that is removed and told again
/// within a batch was never gone. An error keeps the endpoints that are there, and so does an update that
/// makes no sense; the observer hears of both.
///
/// It keeps no balancer alive: it ends with the stream, or with the last handle of the balancer (when
/// the stream tells something next). Dropping it leaves the endpoints as they are.
///
/// # Examples
///
/// ```
/// use stanchion_lb::discover::{Discovery, Fixed};
/// use stanchion_lb::policy::P2c;
/// use stanchion_lb::{Balancer, Endpoint, PickContext};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let balancer = Balancer::new(P2c::new());
/// let found = Fixed::new([Endpoint::new("web-1", "10.0.0.1:80")]);
/// let mut discovery = Discovery::new(&balancer, found);
///
/// // No request is refused only because nothing was found yet.
/// discovery.next().await;
/// assert!(balancer.pick(&PickContext::new()).is_ok());
/// tokio::spawn(discovery.run());
/// # }
/// ```
#[must_use = "nothing is discovered unless it is driven"]
pub struct Discovery<A, D, O = ()> {
    balancer: WeakBalancer<A>,
    stream: Pin<Box<D>>,
    known: Known<A>,
    /// Whether the balancer has other endpoints than are known.
    behind: bool,
    applied: bool,
    ended: bool,
    batch: Option<Pin<Box<Sleep>>>,
    debounce: Duration,
    confirmations: NonZeroU32,
    observer: O,
}

impl<A, D> Discovery<A, D> {
    /// Applies what `stream` tells to `balancer`, whose endpoints are its alone from then on.
    pub fn new(balancer: &Balancer<A>, stream: D) -> Self {
        Self {
            balancer: balancer.downgrade(),
            stream: Box::pin(stream),
            known: Known::new(),
            behind: false,
            applied: false,
            ended: false,
            batch: None,
            debounce: Duration::from_millis(50),
            confirmations: NonZeroU32::MIN,
            observer: (),
        }
    }
}

impl<A, D, O> Discovery<A, D, O> {
    /// How long changes are gathered before they are applied together, from the first of them on. Zero
    /// applies what comes together in one go. Default: 50 ms.
    pub fn with_debounce(mut self, debounce: Duration) -> Self {
        self.debounce = debounce;
        self
    }

    /// How often in a row a whole answer has to be empty before it is believed; until then the
    /// endpoints stay. For sources that are asked again and again. Default: 1, it is believed at once.
    pub fn with_empty_confirmations(mut self, confirmations: NonZeroU32) -> Self {
        self.confirmations = confirmations;
        self
    }

    /// Tells `observer` of each change and each failure. Default: nobody.
    pub fn observe<P: Observe<Event>>(self, observer: P) -> Discovery<A, D, P> {
        Discovery {
            balancer: self.balancer,
            stream: self.stream,
            known: self.known,
            behind: self.behind,
            applied: self.applied,
            ended: self.ended,
            batch: self.batch,
            debounce: self.debounce,
            confirmations: self.confirmations,
            observer,
        }
    }
}

impl<A, D, O> Discovery<A, D, O>
where
    A: Clone + PartialEq,
    D: Discover<A>,
    O: Observe<Event>,
{
    /// Goes on until the stream or the balancer ends.
    ///
    /// # Panics
    ///
    /// When polled outside a tokio runtime with its timer enabled, unless the balancer's clock is a
    /// manual one or nothing is gathered.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the endpoints as they are; what was gathered and not applied is lost.
    pub async fn run(mut self) {
        while self.next().await.is_some() {}
    }

    /// Goes on until endpoints were applied, and tells what that changed; `None` once the stream or
    /// the balancer has ended.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: what was gathered is applied by the next call.
    pub async fn next(&mut self) -> Option<Updated> {
        poll_fn(|cx| self.poll_applied(cx)).await
    }

    /// The endpoints that were told last, in the order in which they were told first; also those that
    /// were gathered and not applied yet.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint<A>] {
        self.known.endpoints()
    }

    fn poll_applied(&mut self, cx: &mut Context<'_>) -> Poll<Option<Updated>> {
        self.gather(cx);
        let Some(balancer) = self.balancer.upgrade() else {
            return Poll::Ready(None);
        };
        if self.behind {
            if self.applied && !self.ended && !self.debounce.is_zero() {
                let sleep = || Box::pin(balancer.clock().sleep(self.debounce));
                let batch = self.batch.get_or_insert_with(sleep);
                ready!(batch.as_mut().poll(cx));
            }
            self.batch = None;
            self.behind = false;
            self.applied = true;
            match balancer.update(self.known.endpoints().iter().cloned()) {
                Ok(updated) => {
                    self.observer.observe(&Event::Updated(updated));
                    return Poll::Ready(Some(updated));
                }
                Err(invalid) => self.observer.observe(&Event::Invalid(invalid)),
            }
        }
        match self.ended {
            true => Poll::Ready(None),
            false => Poll::Pending,
        }
    }

    /// Takes what the stream has to tell.
    fn gather(&mut self, cx: &mut Context<'_>) {
        for _ in 0..UPDATES_MAX {
            if self.ended {
                return;
            }
            match Stream::poll_next(self.stream.as_mut(), cx) {
                Poll::Pending => return,
                Poll::Ready(None) => self.ended = true,
                Poll::Ready(Some(Ok(update))) => self.take(update),
                Poll::Ready(Some(Err(error))) => {
                    self.observer.observe(&Event::Failed(error.into()));
                }
            }
        }
        cx.waker().wake_by_ref();
    }

    fn take(&mut self, update: Update<A>) {
        match self.known.take(update, self.confirmations.get()) {
            Ok(Taken::Yes) => self.behind = true,
            Ok(Taken::Unconfirmed(times)) => {
                self.observer.observe(&Event::Unconfirmed(times));
            }
            Err(invalid) => self.observer.observe(&Event::Invalid(invalid)),
        }
    }
}

impl<A, D, O> fmt::Debug for Discovery<A, D, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery")
            .field("known", &self.known.endpoints().len())
            .field("behind", &self.behind)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
