//! Finds the servers of upstreams that do not list them.
//!
//! What is found becomes part of the configuration in force, as a reload would bring it: one snapshot is
//! swapped for the next, and servers that stay keep all that is known of them.

mod looks;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use stanchion_core::Observe;
use stanchion_lb::Balancer;
use stanchion_lb::discover::{Discover, Discovery, Event, FileWatch};
use stanchion_lb::policy::RoundRobin;

use crate::config;
use crate::shared::Shared;
pub(crate) use looks::FirstLooks;

/// Goes on finding the servers of one upstream. It ends only when there is no more to find.
pub(crate) async fn run(shared: Arc<Shared>, upstream: Arc<str>, config: config::Discovery) {
    let finding = Finding {
        shared,
        upstream,
        config,
    };
    match &finding.config {
        config::Discovery::File { file } => {
            let found = FileWatch::<Address>::new(file);
            let found = found.with_clock(finding.shared.clock.clone());
            finding.follow(found).await;
        }
    }
}

#[derive(Clone)]
struct Finding {
    shared: Arc<Shared>,
    upstream: Arc<str>,
    config: config::Discovery,
}

impl Finding {
    /// The last good answer stays where one fails.
    async fn follow<A, D>(self, found: D)
    where
        A: Clone + PartialEq + fmt::Display,
        D: Discover<A>,
    {
        // Nobody picks by it: it only holds what is known.
        let known = Balancer::new(RoundRobin::new()).with_clock(self.shared.clock.clone());
        let mut discovery = Discovery::new(&known, found).observe(self.clone());
        while discovery.next().await.is_some() {
            let servers = discovery.endpoints().iter().map(server).collect();
            self.shared.found(&self.upstream, &self.config, servers);
            self.shared.looks.over(&self.upstream);
        }
    }
}

impl Observe<Event> for Finding {
    fn observe(&self, event: &Event) {
        let why = match event {
            Event::Failed(error) => with_causes(&**error),
            Event::Invalid(invalid) => invalid.to_string(),
            Event::Unconfirmed(times) => {
                format!("none are there, for the {times}. time, which is not believed yet")
            }
            // What became of it is told.
            _ => return,
        };
        self.shared.found_nothing(&self.upstream, why.into());
        self.shared.looks.over(&self.upstream);
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A server as the file could list it.
fn server<A: fmt::Display>(found: &stanchion_lb::Endpoint<A>) -> config::Endpoint {
    let attributes = found.attributes();
    config::Endpoint {
        url: found.address().to_string().into(),
        weight: attributes.weight,
        priority: attributes.priority,
        zone: attributes.locality.zone.clone(),
        in_flight_max: attributes.in_flight_max,
        incarnation: found.incarnation(),
        found: true,
    }
}

/// Host and port in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address(Arc<str>);

/// What is none.
#[derive(Debug)]
struct NoAddress;

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        config::address(text).map(Self).ok_or(NoAddress)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a host and a port, such as 10.0.0.1:9001")
    }
}
