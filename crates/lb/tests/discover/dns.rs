//! A real DNS server, whose records change, and which goes and comes back.

use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use stanchion_lb::discover::{Discovery, DnsError, DnsResolver, DnsWatch, Family, Update};
use stanchion_lb::policy::RoundRobin;
use stanchion_lb::{Balancer, Endpoint};
use testkit::{Nsd, NsdServer, Server};

const DEADLINE: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(10);

fn resolver(server: &NsdServer) -> DnsResolver {
    DnsResolver::of_servers(&[server.addr()]).unwrap()
}

/// Asks again at once, so that a change is seen soon.
fn eager(watch: DnsWatch) -> DnsWatch {
    watch
        .with_ttl(SOON, SOON)
        .unwrap()
        .with_retry(SOON, SOON)
        .unwrap()
}

async fn next(watch: &mut DnsWatch) -> Result<Vec<Endpoint<SocketAddr>>, DnsError> {
    let told = tokio::time::timeout(DEADLINE, watch.next()).await;
    match told.expect("something is told").expect("it goes on")? {
        Update::Full(endpoints) => Ok(endpoints),
        other => panic!("{other:?}"),
    }
}

/// Waits for this answer; ones of before, and the same one again, may come first.
async fn comes(watch: &mut DnsWatch, expected: &[&str]) {
    let comes = async {
        loop {
            match next(watch).await {
                Ok(found) if lines(&found) == expected => return,
                other => drop(other),
            }
        }
    };
    let came = tokio::time::timeout(DEADLINE, comes).await;
    came.unwrap_or_else(|_| panic!("{expected:?} did not come"));
}

fn lines(found: &[Endpoint<SocketAddr>]) -> Vec<String> {
    let line = |each: &Endpoint<SocketAddr>| {
        let attributes = each.attributes();
        format!(
            "{} p{} w{}",
            each.id(),
            attributes.priority,
            attributes.weight
        )
    };
    found.iter().map(line).collect()
}

const WEB: &str = "web 1 A 10.0.0.1\nweb 1 A 10.0.0.2\nweb 1 AAAA fd00::1";

#[tokio::test]
async fn addresses_are_found_and_followed() {
    let Some(server) = Server::start(Nsd::new(WEB)) else {
        return;
    };
    let watch = |family| {
        let watch = DnsWatch::addresses(resolver(&server), "web.test.", 80).unwrap();
        eager(watch.with_family(family))
    };
    let mut any = watch(Family::Any);
    let all = [
        "10.0.0.1:80 p0 w1",
        "10.0.0.2:80 p0 w1",
        "[fd00::1]:80 p0 w1",
    ];
    assert_eq!(lines(&next(&mut any).await.unwrap()), all);
    assert_eq!(
        lines(&next(&mut watch(Family::V4)).await.unwrap()),
        all[..2]
    );
    assert_eq!(
        lines(&next(&mut watch(Family::V6)).await.unwrap()),
        all[2..]
    );

    server.set_records("web 1 A 10.0.0.3");
    comes(&mut any, &["10.0.0.3:80 p0 w1"]).await;
    // No record of any kind, then no such name: both are answers.
    server.set_records("web 1 TXT \"nothing\"");
    comes(&mut any, &[]).await;
    server.set_records(WEB);
    comes(&mut any, &all).await;
    server.set_records("");
    comes(&mut any, &[]).await;
}

#[tokio::test]
async fn services_become_levels_weights_and_ports() {
    let services = "_http._tcp 1 SRV 0 5 8080 a\n_http._tcp 1 SRV 0 0 8081 b\n\
        _http._tcp 1 SRV 7 1 80 b\n_http._tcp 1 SRV 9 1 80 nobody\n\
        a 1 A 10.0.0.1\na 1 AAAA fd00::1\nb 1 A 10.0.0.2\n_none._tcp 1 SRV 0 0 0 .";
    let Some(server) = Server::start(Nsd::new(services)) else {
        return;
    };
    let watch = |name| eager(DnsWatch::services(resolver(&server), name).unwrap());
    let found = next(&mut watch("_http._tcp.test.")).await.unwrap();
    assert_eq!(
        lines(&found),
        [
            "10.0.0.1:8080 p0 w5",
            "[fd00::1]:8080 p0 w5",
            "10.0.0.2:8081 p0 w1",
            "10.0.0.2:80 p7 w1",
        ]
    );
    assert_eq!(&*found[0].attributes().metadata["target"], "a.test");
    assert!(
        next(&mut watch("_none._tcp.test."))
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        next(&mut watch("_gone._tcp.test."))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn answers_that_do_not_fit_are_asked_for_again_and_too_many_are_an_error() {
    let mut records = String::new();
    for last in 1..=200 {
        records += &format!("web 60 A 10.0.0.{last}\n");
    }
    let Some(server) = Server::start(Nsd::new(&records)) else {
        return;
    };
    let watch = || DnsWatch::addresses(resolver(&server), "web.test.", 80).unwrap();
    assert_eq!(next(&mut watch()).await.unwrap().len(), 200);
    let mut few = watch().with_records_max(199).unwrap();
    let error = next(&mut few).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "web.test. has 200 records, at most 199 are allowed"
    );
}

/// Nobody is forgotten because nobody can be asked.
#[tokio::test]
async fn a_server_that_is_gone_changes_nothing_until_it_is_back() {
    let Some(mut server) = Server::start(Nsd::new("web 1 A 10.0.0.1")) else {
        return;
    };
    let balancer = Balancer::new(RoundRobin::new());
    let found = eager(DnsWatch::addresses(resolver(&server), "web.test.", 80).unwrap());
    let mut discovery = Discovery::new(&balancer, found);
    assert_eq!(discovery.next().await.unwrap().added, 1);
    drop(discovery);

    let mut watch = eager(DnsWatch::addresses(resolver(&server), "web.test.", 80).unwrap());
    assert_eq!(next(&mut watch).await.unwrap().len(), 1);
    server.kill();
    let error = next(&mut watch).await.unwrap_err();
    assert!(error.to_string().contains("web.test."), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    server.restart();
    server.set_records("web 1 A 10.0.0.2");
    comes(&mut watch, &["10.0.0.2:80 p0 w1"]).await;
}

/// Who refuses to tell has not said that there is nothing.
#[tokio::test]
async fn a_refusal_is_no_empty_answer() {
    let Some(server) = Server::start(Nsd::new(WEB)) else {
        return;
    };
    let elsewhere = DnsWatch::addresses(resolver(&server), "web.elsewhere.", 80).unwrap();
    let error = next(&mut eager(elsewhere)).await.unwrap_err();
    assert!(matches!(error, DnsError::Failed { .. }), "{error:?}");
}

#[test]
fn what_makes_no_sense_is_named() {
    let resolver = || DnsResolver::of_servers(&["127.0.0.1:53".parse().unwrap()]).unwrap();
    let label = "x".repeat(64);
    for name in ["", ".", "a..b", &label] {
        let error = DnsWatch::services(resolver(), name).unwrap_err();
        assert_eq!(error.field(), "name");
        assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
    }
    let error = DnsWatch::addresses(resolver(), "web", 0).unwrap_err();
    assert_eq!(error.to_string(), "port is 0, must be from 1 to 65535");
    assert_eq!(DnsResolver::of_servers(&[]).unwrap_err().field(), "servers");
    let watch = || DnsWatch::addresses(resolver(), "web", 80).unwrap();
    let second = Duration::from_secs(1);
    let error = watch().with_ttl(2 * second, second).unwrap_err();
    assert_eq!(
        error.to_string(),
        "floor is 2s, must be from 10ms to the ceiling of 1s"
    );
    assert_eq!(
        watch()
            .with_ttl(second, 100_000 * second)
            .unwrap_err()
            .field(),
        "ceiling"
    );
    assert_eq!(
        watch()
            .with_retry(Duration::ZERO, second)
            .unwrap_err()
            .field(),
        "first"
    );
    assert_eq!(
        watch().with_records_max(0).unwrap_err().field(),
        "records_max"
    );
}
