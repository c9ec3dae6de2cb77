//! A real listener that is closed and opened again.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use stanchion_lb::check::{Checks, TcpProbe};
use stanchion_lb::policy::RoundRobin;
use stanchion_lb::{Balancer, Endpoint, Health, PickContext};
use testkit::eventually;
use tokio::net::{TcpListener, TcpSocket};

const LIMIT: Duration = Duration::from_secs(30);

/// A port that is nobody else's while the socket is there. It does not listen.
fn reserve() -> (TcpSocket, SocketAddr) {
    let socket = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let address = socket.local_addr().expect("it is bound");
    (socket, address)
}

fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseport(true).expect("an option of Unix");
    socket.bind(address).expect("a port that is ours");
    socket
}

fn listen(address: SocketAddr) -> TcpListener {
    bind(address).listen(16).expect("it is bound")
}

#[tokio::test]
async fn a_server_that_goes_down_is_left_out_until_it_is_back() {
    let ((_first, address), (_second, other)) = (reserve(), reserve());
    let (first, _listening) = (listen(address), listen(other));
    let balancer = Balancer::new(RoundRobin::new());
    let endpoints = [
        Endpoint::new("first", address),
        Endpoint::new("second", other),
    ];
    balancer.update(endpoints).unwrap();
    // Where a connection to a neighbour takes this long twice, nothing could be tested.
    let checks = Checks::every(Duration::from_millis(250))
        .and_then(|checks| checks.with_timeout(Duration::from_millis(240)))
        .unwrap()
        .with_rise(NonZeroU32::new(2).unwrap())
        .with_fall(NonZeroU32::new(2).unwrap());
    let checking = tokio::spawn(balancer.check(checks, TcpProbe::new()));
    let is = |id: &'static str, health| {
        let balancer = &balancer;
        eventually(LIMIT, id, move || balancer.health(id) == Some(health))
    };
    is("first", Health::Healthy).await;
    is("second", Health::Healthy).await;

    drop(first);
    is("first", Health::Unhealthy).await;
    for _ in 0..4 {
        let picked = balancer.pick(&PickContext::new()).unwrap();
        assert_eq!(picked.id().as_str(), "second");
    }
    let _first = listen(address);
    is("first", Health::Healthy).await;
    assert_eq!(balancer.health("second"), Some(Health::Healthy));

    drop(balancer);
    let ended = tokio::time::timeout(LIMIT, checking).await;
    ended.expect("it ends with the last handle").unwrap();
}
