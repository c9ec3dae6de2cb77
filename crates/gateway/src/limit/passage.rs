//! One request on its way through the limits of a route: all of them count it, or none.
//!
//! ```text
//! look   at those in this process: what one of them refuses, none is asked to count
//! take   from these, one after the other
//! wait   for Redis, and then for the slots of leaky buckets
//! ```
//!
//! Whoever refuses, what others have taken is given back. Of those in this process that happens only
//! where another request was quicker between the look and the take, or the answer was elsewhere.

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use stanchion_ratelimit::http::TooManyRequests;
use stanchion_ratelimit::{Answer, MissingKey, Rejected, Status};
#[cfg(feature = "redis")]
use stanchion_ratelimit::{RedisAdmitted, Refused};

use super::bucket::Bucket;
use super::local::Local;
use super::{Grade, Limit, Refuse, SHARED, TierId};
use crate::exchange::{Inbound, Request, Response};

/// One request on its way.
pub(super) struct Passage {
    road: Road,
    /// By the place of each limit.
    taken: Vec<Taken>,
}

/// The limits that one request meets, by the policies of its tier.
struct Road {
    limits: Arc<[Limit]>,
    tier: Option<TierId>,
}

/// What a limit has done with the request.
enum Taken {
    NotAsked,
    /// It is none of its requests.
    Uncounted,
    Here(Status),
    /// With what is to be given back, once for all limits that Redis has decided on together.
    #[cfg(feature = "redis")]
    Redis(Option<Box<RedisAdmitted>>, Option<Status>),
}

/// A limit refused the request, and none has counted it.
pub(super) struct Refusal {
    place: usize,
    rejected: Rejected,
}

/// By what a limit knows a request.
enum Way<'a> {
    Key(Cow<'a, [u8]>),
    Pass,
    NoKey,
}

/// The answer of a limit that has to be waited for.
type Asked = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// What a limit said that had to be waited for.
enum Answered {
    Here(Result<Status, Rejected>),
    #[cfg(feature = "redis")]
    Redis(Result<RedisAdmitted, Refused>),
}

impl Passage {
    pub(super) fn new(limits: Arc<[Limit]>, request: &Request) -> Self {
        let mut asking = limits.iter().filter(|limit| limit.0.needs_tier());
        let tier = asking.next().and_then(|limit| limit.0.tiers.of(request));
        Self {
            taken: limits.iter().map(|_| Taken::NotAsked).collect(),
            road: Road { limits, tier },
        }
    }

    /// Asks the limits that decide at once.
    pub(super) fn begin(&mut self, request: &Request) -> Result<(), Refusal> {
        if self.taken.len() > 1 {
            self.look(request)?;
        }
        for place in 0..self.taken.len() {
            if let Err(refusal) = self.take(place, request) {
                self.give_back(request);
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Whether all limits have admitted the request.
    pub(super) fn is_through(&self) -> bool {
        self.next().is_none()
    }

    /// Looks at all that are in this process, before any is taken from: where some have nothing left,
    /// the one refuses that has to be waited for the longest.
    fn look(&mut self, request: &Request) -> Result<(), Refusal> {
        let mut longest: Option<(usize, Duration)> = None;
        for place in 0..self.taken.len() {
            let key = match self.road.way(place, request) {
                Way::Key(key) => key,
                Way::Pass => continue,
                Way::NoKey => return Err(Refusal::no_key(place)),
            };
            let Some(local) = self.road.decides_at_once(place) else {
                continue;
            };
            let status = local.peek(&key);
            if status.remaining() == 0 {
                let wait = status.available_after(1).unwrap_or(Duration::MAX);
                if longest.is_none_or(|(_, longest)| wait > longest) {
                    longest = Some((place, wait));
                }
            }
        }
        // If something came back meanwhile, it is taken from first.
        longest.map_or(Ok(()), |(place, _)| self.take(place, request))
    }

    /// Takes from a limit that decides at once, unless that was done.
    fn take(&mut self, place: usize, request: &Request) -> Result<(), Refusal> {
        if !matches!(self.taken[place], Taken::NotAsked) {
            return Ok(());
        }
        let key = match self.road.way(place, request) {
            Way::Key(key) => key,
            Way::Pass => {
                self.taken[place] = Taken::Uncounted;
                return Ok(());
            }
            Way::NoKey => return Err(Refusal::no_key(place)),
        };
        if let Some(local) = self.road.decides_at_once(place) {
            let status = local.check(&key);
            let status = status.map_err(|rejected| Refusal { place, rejected })?;
            self.taken[place] = Taken::Here(status);
        }
        Ok(())
    }

    /// The limit that has to be waited for next. Slots come last: whom Redis refuses holds none.
    fn next(&self) -> Option<usize> {
        let open = |place: &usize| matches!(self.taken[*place], Taken::NotAsked);
        let places = || (0..self.taken.len()).filter(open);
        let is_here = |place: &usize| matches!(self.road.bucket(*place), Bucket::Local(_));
        places().find(|place| !is_here(place)).or(places().next())
    }

    /// Waits for one limit after the other, until all have admitted the request or one refused it.
    ///
    /// Dropping the future gives back what was taken.
    pub(super) async fn wait(self, request: Request) -> (Self, Request, Result<(), Refusal>) {
        let mut held = Held(Some((self, request)));
        let mut result = Ok(());
        while let Some((place, asked)) = held.ask() {
            let answered = asked.await;
            result = held.hear(place, answered);
            if result.is_err() {
                break;
            }
        }
        let (mut passage, request) = held.0.take().expect("it is taken here only");
        if result.is_err() {
            passage.give_back(&request);
        }
        (passage, request, result)
    }

    fn hear(&mut self, place: usize, answered: Answered) -> Result<(), Refusal> {
        match answered {
            Answered::Here(Ok(status)) => self.taken[place] = Taken::Here(status),
            Answered::Here(Err(rejected)) => return Err(Refusal { place, rejected }),
            #[cfg(feature = "redis")]
            Answered::Redis(Ok(admitted)) => {
                let name = |place: usize| &self.road.limits[place].0.config.name;
                let status = |place: usize| {
                    let mut statuses = admitted.statuses();
                    let told = statuses.find(|(limit, _)| **limit == **name(place));
                    told.map(|(_, status)| status)
                };
                let places = self.road.decided_with(place);
                let told: Vec<_> = places.map(|place| (place, status(place))).collect();
                let mut admitted = Some(Box::new(admitted));
                for (place, status) in told {
                    self.taken[place] = Taken::Redis(admitted.take(), status);
                }
            }
            #[cfg(feature = "redis")]
            Answered::Redis(Err(refused)) => {
                let is_by = |place: &usize| {
                    let limit = &self.road.limits[*place];
                    *limit.0.config.name == *refused.limit()
                };
                let mut places = self.road.decided_with(place);
                return Err(Refusal {
                    place: places.find(is_by).unwrap_or(place),
                    rejected: *refused.rejected(),
                });
            }
        }
        Ok(())
    }

    /// Gives back what was taken.
    fn give_back(&mut self, request: &Request) {
        for (place, taken) in self.taken.iter_mut().enumerate() {
            match std::mem::replace(taken, Taken::NotAsked) {
                Taken::NotAsked | Taken::Uncounted => {}
                Taken::Here(_) => {
                    if let Way::Key(key) = self.road.way(place, request) {
                        self.road.bucket(place).refund(&key);
                    }
                }
                #[cfg(feature = "redis")]
                Taken::Redis(admitted, _) => {
                    if let Some(admitted) = admitted {
                        admitted.give_back();
                    }
                }
            }
        }
    }

    /// Answers a refused request: where the limit stands that refused it, and the policies of all.
    pub(super) fn refuse(&self, refusal: &Refusal, request: Request) -> Response {
        let Refusal { place, rejected } = refusal;
        self.road.limits[*place].0.metrics.inc();
        let answer = &self.road.grade(*place).answer;
        let Ok(mut response) = Answer::<_, _, Infallible>::refuse(answer, rejected, *request);
        if rejected.status().is_some() {
            for other in (0..self.taken.len()).filter(|other| other != place) {
                let answer = &self.road.grade(other).answer;
                answer.tell_policy(response.headers_mut());
            }
        }
        response
    }

    /// Tells where the limits stand, all of which have admitted the request.
    pub(super) fn complete(&self, response: Response) -> Response {
        let taken = self.taken.iter().enumerate();
        taken.fold(response, |response, (place, taken)| {
            let status = match taken {
                Taken::NotAsked | Taken::Uncounted => return response,
                Taken::Here(status) => Some(*status),
                #[cfg(feature = "redis")]
                Taken::Redis(_, status) => *status,
            };
            complete(&self.road.grade(place).answer, status, response)
        })
    }
}

fn complete(
    answer: &TooManyRequests<Refuse>,
    status: Option<Status>,
    response: Response,
) -> Response {
    type Told = TooManyRequests<Refuse>;
    type Passed = http::Request<Inbound>;
    let note = Answer::<Passed, Response, Infallible>::note(answer, status);
    <Told as Answer<Passed, Response, Infallible>>::complete(note, response)
}

impl Road {
    /// By what a limit knows this request.
    fn way<'a>(&'a self, place: usize, request: &'a Request) -> Way<'a> {
        let limit = &*self.limits[place].0;
        let client = &request.body().origin().client;
        let listed = !limit.config.listed_only || self.tier.is_some();
        let key = listed.then(|| limit.key.find(request, client)).flatten();
        match (key, limit.config.missing) {
            (Some(key), _) => Way::Key(key),
            (None, MissingKey::Pass) => Way::Pass,
            (None, MissingKey::Share) => Way::Key(Cow::Borrowed(SHARED)),
            (None, _) => Way::NoKey,
        }
    }

    fn grade(&self, place: usize) -> &Grade {
        self.limits[place].0.grade(self.tier)
    }

    fn bucket(&self, place: usize) -> &Bucket {
        &self.grade(place).bucket
    }

    /// The buckets of a limit that need not be waited for.
    fn decides_at_once(&self, place: usize) -> Option<&Local> {
        match self.bucket(place) {
            Bucket::Local(local) if self.limits[place].0.config.wait_max.is_none() => Some(local),
            _ => None,
        }
    }

    /// The limits that this one asks Redis for, itself first.
    #[cfg(feature = "redis")]
    fn decided_with(&self, leader: usize) -> impl Iterator<Item = usize> {
        let follows = move |place: &usize| {
            let together = self.limits[*place].0.together.as_ref();
            together.is_some_and(|together| together.leader == leader)
        };
        let others = (0..self.limits.len()).filter(move |place| *place != leader);
        std::iter::once(leader).chain(others.filter(follows))
    }
}

/// What is given back when it is dropped.
struct Held(Option<(Passage, Request)>);

impl Held {
    /// Asks the next limit, if there is one.
    fn ask(&self) -> Option<(usize, Asked)> {
        let (passage, request) = self.0.as_ref()?;
        let place = passage.next()?;
        let Way::Key(key) = passage.road.way(place, request) else {
            return None;
        };
        Some((
            place,
            match passage.road.bucket(place) {
                Bucket::Local(local) => {
                    let wait_max = passage.road.limits[place].0.config.wait_max;
                    let wait = local
                        .clone()
                        .wait(key.into_owned(), wait_max.unwrap_or_default());
                    Box::pin(async { Answered::Here(wait.await) })
                }
                #[cfg(feature = "redis")]
                Bucket::Redis(redis) => {
                    let admission = redis.limiter.admit(&*key, 1);
                    Box::pin(async { Answered::Redis(admission.await) })
                }
            },
        ))
    }

    fn hear(&mut self, place: usize, answered: Answered) -> Result<(), Refusal> {
        match &mut self.0 {
            Some((passage, _)) => passage.hear(place, answered),
            None => Ok(()),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((mut passage, request)) = self.0.take() {
            passage.give_back(&request);
        }
    }
}

impl Refusal {
    fn no_key(place: usize) -> Self {
        Self {
            place,
            rejected: Rejected::no_key(),
        }
    }
}
