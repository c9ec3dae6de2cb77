//! Endpoints, of what DNS answered; pure.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use crate::Endpoint;

/// One SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) target: String,
}

/// The endpoints at these addresses: each once, in the order of the addresses.
pub(super) fn at(
    addresses: impl IntoIterator<Item = IpAddr>,
    port: u16,
) -> Vec<Endpoint<SocketAddr>> {
    let mut addresses: Vec<IpAddr> = addresses.into_iter().collect();
    addresses.sort_unstable();
    addresses.dedup();
    let endpoint = |ip: IpAddr| endpoint(SocketAddr::new(ip, port));
    addresses.into_iter().map(endpoint).collect()
}

fn endpoint(address: SocketAddr) -> Endpoint<SocketAddr> {
    Endpoint::new(address.to_string(), address)
}

/// The endpoints of these services, whose targets are at these addresses: each once, by its first
/// record in the order of priority, of weight from the heaviest on, and of address.
pub(super) fn of_services(
    mut services: Vec<Service>,
    addresses: impl Fn(&str) -> Vec<IpAddr>,
) -> Vec<Endpoint<SocketAddr>> {
    services.sort_by(|one, other| {
        let rank = |service: &Service| (service.priority, u16::MAX - service.weight, service.port);
        rank(one)
            .cmp(&rank(other))
            .then_with(|| one.target.cmp(&other.target))
    });
    let mut priorities: Vec<u16> = services.iter().map(|service| service.priority).collect();
    priorities.dedup();
    let level = |priority: u16| {
        // As they are, where they fit; else by their rank, the last ones all in one level.
        let fits = priorities
            .last()
            .is_none_or(|last| u8::try_from(*last).is_ok());
        let rank = priorities.partition_point(|other| *other < priority);
        let level = if fits { usize::from(priority) } else { rank };
        u8::try_from(level).unwrap_or(u8::MAX)
    };
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for service in &services {
        let mut ips = addresses(&service.target);
        ips.sort_unstable();
        for ip in ips {
            let address = SocketAddr::new(ip, service.port);
            if seen.insert(address) {
                let endpoint = endpoint(address)
                    .with_priority(level(service.priority))
                    // A weight of 0 says that there is little to choose by, not that nobody is to come.
                    .with_weight(service.weight.max(1))
                    .with_metadata("target", service.target.trim_end_matches('.'));
                found.push(endpoint);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn service(priority: u16, weight: u16, port: u16, target: &str) -> Service {
        Service {
            priority,
            weight,
            port,
            target: target.into(),
        }
    }

    fn lines(found: &[Endpoint<SocketAddr>]) -> Vec<String> {
        let line = |endpoint: &Endpoint<SocketAddr>| {
            let attributes = endpoint.attributes();
            format!(
                "{} p{} w{}",
                endpoint.id(),
                attributes.priority,
                attributes.weight
            )
        };
        found.iter().map(line).collect()
    }

    #[test]
    fn each_address_is_an_endpoint_once_whatever_the_order() {
        let found = at(["10.0.0.2", "::1", "10.0.0.1", "10.0.0.2"].map(ip), 80);
        assert_eq!(
            lines(&found),
            ["10.0.0.1:80 p0 w1", "10.0.0.2:80 p0 w1", "[::1]:80 p0 w1"]
        );
    }

    fn addresses(target: &str) -> Vec<IpAddr> {
        match target {
            "a." => vec![ip("10.0.0.2"), ip("10.0.0.1")],
            "b." => vec![ip("10.0.0.3")],
            "c." => vec![ip("10.0.0.1")],
            _ => Vec::new(),
        }
    }

    #[test]
    fn services_become_levels_weights_and_ports() {
        let services = vec![
            service(10, 0, 80, "b."),
            service(1, 5, 80, "c."),
            service(0, 3, 81, "a."),
            service(0, 9, 80, "a."),
            service(2, 9, 80, "gone."),
        ];
        let found = of_services(services, addresses);
        assert_eq!(
            lines(&found),
            [
                "10.0.0.1:80 p0 w9",
                "10.0.0.2:80 p0 w9",
                "10.0.0.1:81 p0 w3",
                "10.0.0.2:81 p0 w3",
                "10.0.0.3:80 p10 w1",
            ]
        );
        assert_eq!(&*found[4].attributes().metadata["target"], "b");
    }

    #[test]
    fn priorities_beyond_a_level_are_ranked() {
        let services = vec![
            service(30_000, 1, 80, "b."),
            service(7, 1, 81, "b."),
            service(500, 1, 82, "b."),
        ];
        let found = of_services(services, addresses);
        let levels: Vec<u8> = found
            .iter()
            .map(|each| each.attributes().priority)
            .collect();
        assert_eq!(levels, [0, 1, 2]);
        let many = (0..400).map(|priority| service(priority, 1, 1_000 + priority, "b."));
        let found = of_services(many.collect(), addresses);
        assert_eq!(found[399].attributes().priority, 255);
    }
}
