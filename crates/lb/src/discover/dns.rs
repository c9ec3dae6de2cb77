//! Endpoints found in DNS.

mod error;
mod found;
mod look;
mod pace;
mod resolver;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use hickory_resolver::proto::rr::Name;
use stanchion_backoff::Backoff;
use stanchion_core::{Clock, Sleep};

use super::Update;
use crate::{Draw, ENDPOINTS_MAX, Endpoint};
pub use error::{DnsError, InvalidDns};
pub use look::Family;
use look::{Look, Memory, Question, Seen};
use pace::Pace;
pub use resolver::DnsResolver;

/// Endpoints found in DNS, which is asked again and again: the addresses of a name, or the services
/// (SRV) of one.
///
/// It asks again when the answer is no longer good, by the shortest time to live of its records,
/// between a floor and a ceiling, and up to a tenth later, so that those who asked together do not ask
/// together again. That there is no record, or no such name, is an answer: an empty one. Where no server
/// answers, or one says that it failed, the error is told, the endpoints stay, and it asks again by
/// an exponential backoff; of several questions (IPv4 and IPv6, the targets of a service) the last good
/// answer stands in for one that failed.
///
/// An endpoint is the server at its address, whose text is its id too. Of SRV records
/// priorities become levels (ranked, if one is above 255), weights weights (a 0 counts as 1: in DNS it
/// means that there is little to choose by), ports ports; each address of a target has the weight of
/// its record, and `metadata` names the `target`.
///
/// At most so many records are taken; more are an error.
///
/// # Panics
///
/// When polled outside a tokio runtime with its timer and its I/O enabled.
///
/// # Examples
///
/// ```no_run
/// use stanchion_lb::Balancer;
/// use stanchion_lb::discover::{Discovery, DnsResolver, DnsWatch};
/// use stanchion_lb::policy::P2c;
///
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let resolver = DnsResolver::system()?;
/// let found = DnsWatch::addresses(resolver.clone(), "web.internal.", 8080)?;
/// tokio::spawn(Discovery::new(&Balancer::new(P2c::new()), found).run());
///
/// let found = DnsWatch::services(resolver, "_http._tcp.api.internal.")?;
/// # let _ = found;
/// # Ok(())
/// # }
/// ```
///
/// **Source**: RFC 1035; RFC 2782 for SRV; RFC 2308 for how long it is good that there is nothing.
#[must_use = "nothing is asked unless it is polled"]
pub struct DnsWatch {
    question: Question,
    resolver: DnsResolver,
    pace: Pace,
    clock: Clock,
    state: State,
    failures: u32,
    /// What was told last.
    told: Option<Vec<Endpoint<SocketAddr>>>,
    /// What is to be told; at most two.
    queue: VecDeque<Result<Update<SocketAddr>, DnsError>>,
}

enum State {
    Due(Memory),
    Looking(Look),
    Resting(Memory, Pin<Box<Sleep>>),
    /// Never seen from outside.
    Moving,
}

const FLOOR: Duration = Duration::from_secs(1);
const CEILING: Duration = Duration::from_secs(300);
const RECORDS: usize = 1_000;

impl DnsWatch {
    /// Finds the addresses of `name`, each as an endpoint at `port`.
    ///
    /// # Errors
    ///
    /// If `name` is none, or `port` is 0.
    pub fn addresses(resolver: DnsResolver, name: &str, port: u16) -> Result<Self, InvalidDns> {
        if port == 0 {
            return Err(InvalidDns::new("port", port, "from 1 to 65535"));
        }
        Self::new(resolver, name, Some(port))
    }

    /// Finds the services `name`, such as `_http._tcp.api.internal.`, and the addresses of their
    /// targets.
    ///
    /// # Errors
    ///
    /// If `name` is none.
    pub fn services(resolver: DnsResolver, name: &str) -> Result<Self, InvalidDns> {
        Self::new(resolver, name, None)
    }

    fn new(resolver: DnsResolver, name: &str, port: Option<u16>) -> Result<Self, InvalidDns> {
        let parsed = Name::from_utf8(name).ok().filter(|name| !name.is_root());
        let parsed = parsed.filter(|_| !name.is_empty()).ok_or_else(|| {
            InvalidDns::new(
                "name",
                name,
                "a name of labels of up to 63 bytes, 255 in all",
            )
        })?;
        let backoff = Backoff::new(FLOOR, Duration::from_secs(30));
        Ok(Self {
            question: Question {
                name: parsed,
                port,
                family: Family::Any,
                records_max: RECORDS,
            },
            resolver,
            pace: Pace {
                floor: FLOOR,
                ceiling: CEILING,
                backoff: backoff.map_err(|why| InvalidDns::new("backoff", why, "valid"))?,
            },
            clock: Clock::system(),
            state: State::Due(Memory::default()),
            failures: 0,
            told: None,
            queue: VecDeque::new(),
        })
    }

    /// Which addresses are used. Default: any.
    pub fn with_family(mut self, family: Family) -> Self {
        self.question.family = family;
        self
    }

    /// For how long an answer is good at least, and at most, whatever it says. Default: 1 s and 5
    /// minutes.
    ///
    /// # Errors
    ///
    /// If the floor is less than 10 ms or more than the ceiling, or that is more than a day.
    pub fn with_ttl(mut self, floor: Duration, ceiling: Duration) -> Result<Self, InvalidDns> {
        const LEAST: Duration = Duration::from_millis(10);
        const MOST: Duration = Duration::from_secs(86_400);
        if ceiling > MOST {
            return Err(InvalidDns::new("ceiling", ceiling, "at most a day"));
        }
        if !(LEAST..=ceiling).contains(&floor) {
            let allowed = format!("from 10ms to the ceiling of {ceiling:?}");
            return Err(InvalidDns::new("floor", floor, allowed));
        }
        (self.pace.floor, self.pace.ceiling) = (floor, ceiling);
        Ok(self)
    }

    /// How long it waits after a first failure, and at most: twice as long after each in a row, from
    /// half of that on, by chance. Default: 1 s and 30 s.
    ///
    /// # Errors
    ///
    /// If the first is zero, or longer than the longest, or that is more than a day.
    pub fn with_retry(mut self, first: Duration, longest: Duration) -> Result<Self, InvalidDns> {
        if longest > Duration::from_secs(86_400) {
            return Err(InvalidDns::new("longest", longest, "at most a day"));
        }
        let backoff = Backoff::new(first, longest);
        let allowed = || format!("more than zero and at most the longest of {longest:?}");
        self.pace.backoff = backoff.map_err(|_| InvalidDns::new("first", first, allowed()))?;
        Ok(self)
    }

    /// How many records, and endpoints, there may be. Default: 1,000.
    ///
    /// # Errors
    ///
    /// If it is 0, or more than [`ENDPOINTS_MAX`].
    pub fn with_records_max(mut self, records: usize) -> Result<Self, InvalidDns> {
        if !(1..=ENDPOINTS_MAX).contains(&records) {
            let allowed = format!("from 1 to {ENDPOINTS_MAX}");
            return Err(InvalidDns::new("records_max", records, allowed));
        }
        self.question.records_max = records;
        Ok(self)
    }

    /// The clock that it rests by. Default: [`Clock::system`].
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Queues what is new of what was seen, and says how long that is good.
    fn take(&mut self, seen: Seen) -> Duration {
        let random = Draw::of_thread().bits();
        let failed = seen.failed.is_some();
        self.failures = if failed {
            self.failures.saturating_add(1)
        } else {
            0
        };
        self.queue.extend(seen.failed.map(Err));
        let good_for = self.pace.after_answer(seen.ttl, random);
        let rest = match (failed, &seen.endpoints) {
            (false, _) => good_for,
            (true, None) => self.pace.after_failures(self.failures, random),
            (true, Some(_)) => good_for.min(self.pace.after_failures(self.failures, random)),
        };
        if let Some(endpoints) = seen.endpoints {
            // Each empty answer counts; of the others only what they change does.
            if endpoints.is_empty() || self.told.as_ref() != Some(&endpoints) {
                self.told = Some(endpoints.clone());
                self.queue.push_back(Ok(Update::Full(endpoints)));
            }
        }
        rest
    }
}

impl Stream for DnsWatch {
    type Item = Result<Update<SocketAddr>, DnsError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(item) = this.queue.pop_front() {
                return Poll::Ready(Some(item));
            }
            this.state = match std::mem::replace(&mut this.state, State::Moving) {
                State::Due(memory) => {
                    let question = this.question.clone();
                    State::Looking(question.look(this.resolver.clone(), memory))
                }
                State::Looking(mut look) => match look.as_mut().poll(cx) {
                    Poll::Ready((memory, seen)) => {
                        let rest = this.take(seen);
                        State::Resting(memory, Box::pin(this.clock.sleep(rest)))
                    }
                    Poll::Pending => {
                        this.state = State::Looking(look);
                        return Poll::Pending;
                    }
                },
                State::Resting(memory, mut sleep) => match sleep.as_mut().poll(cx) {
                    Poll::Ready(()) => State::Due(memory),
                    Poll::Pending => {
                        this.state = State::Resting(memory, sleep);
                        return Poll::Pending;
                    }
                },
                State::Moving => State::Due(Memory::default()),
            };
        }
    }
}

impl fmt::Debug for DnsWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsWatch")
            .field("question", &self.question)
            .field("pace", &self.pace)
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}
