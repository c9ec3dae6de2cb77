//! One look: all questions that make up an answer.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use hickory_resolver::proto::rr::{Name, RecordType};

use super::DnsError;
use super::found::{Service, at, of_services};
use super::resolver::{Answer, DnsResolver};
use crate::Endpoint;

/// Which addresses are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// All.
    #[default]
    Any,
    /// Those of IPv4.
    V4,
    /// Those of IPv6.
    V6,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) name: Name,
    /// That of each address; `None` if services tell it.
    pub(super) port: Option<u16>,
    pub(super) family: Family,
    pub(super) records_max: usize,
}

/// A name, and of which family its addresses are.
type Asked = (String, RecordType);

/// The last good answer to each question that is still asked; at most two for each record.
pub(super) type Memory = HashMap<Asked, Vec<IpAddr>>;

/// A look under way.
pub(super) type Look = Pin<Box<dyn Future<Output = (Memory, Seen)> + Send>>;

/// What was seen.
#[derive(Debug)]
pub(super) struct Seen {
    /// None if too little is known to say.
    pub(super) endpoints: Option<Vec<Endpoint<SocketAddr>>>,
    pub(super) ttl: Option<Duration>,
    /// The first failure.
    pub(super) failed: Option<DnsError>,
}

/// Questions that are asked at once.
const AT_ONCE: usize = 16;

impl Family {
    const fn records(self) -> &'static [RecordType] {
        match self {
            Self::Any => &[RecordType::A, RecordType::AAAA],
            Self::V4 => &[RecordType::A],
            Self::V6 => &[RecordType::AAAA],
        }
    }
}

impl Question {
    pub(super) fn look(self, resolver: DnsResolver, memory: Memory) -> Look {
        Box::pin(async move {
            match self.port {
                Some(port) => self.addresses(port, &resolver, memory).await,
                None => self.services(&resolver, memory).await,
            }
        })
    }

    async fn addresses(&self, port: u16, resolver: &DnsResolver, memory: Memory) -> (Memory, Seen) {
        let name = self.name.to_utf8();
        let known = self.resolve(vec![name], resolver, memory).await;
        let endpoints = at(known.memory.values().flatten().copied(), port);
        self.seen(known, endpoints)
    }

    async fn services(&self, resolver: &DnsResolver, memory: Memory) -> (Memory, Seen) {
        let services = match resolver.services(&self.name).await {
            Ok(services) => services,
            Err(error) => return (memory, Seen::failed(error)),
        };
        let Answer { records, ttl } = services;
        if records.len() > self.records_max {
            return (memory, Seen::failed(self.too_many(records.len())));
        }
        let mut targets: Vec<String> = records.iter().map(|each| each.target.clone()).collect();
        targets.sort_unstable();
        targets.dedup();
        let mut known = self.resolve(targets, resolver, memory).await;
        known.ttl = shorter(known.ttl, ttl);
        let endpoints = self.of_services(records, &known.memory);
        self.seen(known, endpoints)
    }

    fn of_services(&self, services: Vec<Service>, memory: &Memory) -> Vec<Endpoint<SocketAddr>> {
        of_services(services, |target| {
            let of = |record: &RecordType| memory.get(&(target.to_owned(), *record));
            let found = self.family.records().iter().filter_map(of);
            found.flatten().copied().collect()
        })
    }

    /// The addresses of these names: where one is not to be had, those that it had.
    async fn resolve(&self, names: Vec<String>, resolver: &DnsResolver, memory: Memory) -> Known {
        let mut questions = Vec::new();
        for name in names {
            for record in self.family.records() {
                questions.push(ask(resolver.clone(), (name.clone(), *record)));
            }
        }
        let mut answers = stream::iter(questions).buffer_unordered(AT_ONCE);
        let mut known = Known::default();
        while let Some((asked, answer)) = answers.next().await {
            let addresses = match answer {
                Ok(answer) => {
                    known.ttl = shorter(known.ttl, answer.ttl);
                    answer.records
                }
                Err(error) => {
                    known.failed.get_or_insert(error);
                    match memory.get(&asked) {
                        Some(had) => had.clone(),
                        None => continue,
                    }
                }
            };
            known.memory.insert(asked, addresses);
        }
        known
    }

    fn seen(&self, known: Known, endpoints: Vec<Endpoint<SocketAddr>>) -> (Memory, Seen) {
        let Known {
            memory,
            ttl,
            failed,
        } = known;
        if endpoints.len() > self.records_max {
            return (memory, Seen::failed(self.too_many(endpoints.len())));
        }
        // That nothing was found where something could not be asked means nothing.
        let means_something = failed.is_none() || !endpoints.is_empty();
        let seen = Seen {
            endpoints: means_something.then_some(endpoints),
            ttl,
            failed,
        };
        (memory, seen)
    }

    fn too_many(&self, found: usize) -> DnsError {
        DnsError::TooMany {
            name: self.name.to_utf8(),
            found,
            max: self.records_max,
        }
    }
}

async fn ask(resolver: DnsResolver, asked: Asked) -> (Asked, Result<Answer<IpAddr>, DnsError>) {
    let answer = match Name::from_utf8(&asked.0) {
        Ok(name) => resolver.addresses(&name, asked.1).await,
        Err(why) => Err(DnsError::Failed {
            name: asked.0.clone(),
            source: why.into(),
        }),
    };
    (asked, answer)
}

/// What all names are known to have.
#[derive(Debug, Default)]
struct Known {
    memory: Memory,
    ttl: Option<Duration>,
    failed: Option<DnsError>,
}

impl Seen {
    fn failed(error: DnsError) -> Self {
        Self {
            endpoints: None,
            ttl: None,
            failed: Some(error),
        }
    }
}

fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}
