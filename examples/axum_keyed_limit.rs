//! An axum service that gives each client two requests at once and one more every thirty seconds,
//! by the client's address. It stands behind a proxy on the same machine, so the address is the one
//! that the proxy wrote down, and a client that writes one itself gains nothing.
//!
//! The story serves on a free port of the loopback, plays the proxy and two clients over TCP, and
//! shuts the server down gracefully.
//!
//! `cargo run -p stanchion-examples --example axum_keyed_limit`

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use stanchion::ratelimit::http::{ClientAddr, ForwardedField};
use stanchion::ratelimit::{KeyedRateLimiter, Quota, RateLimitLayer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, oneshot};

/// The most that the whole story may take.
const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    tokio::time::timeout(DEADLINE, story()).await?
}

/// The service. `/slow` meets `gate` twice: when it has begun, and before it answers.
fn app(limiter: KeyedRateLimiter<IpAddr>, gate: Arc<Barrier>) -> Result<Router, Box<dyn Error>> {
    let by_address = ClientAddr::new()
        // Where axum keeps the peer of the connection.
        .with_peer(|extensions| Some(extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()))
        // Only what these peers say about a client's address is believed.
        .trust_proxies(["127.0.0.0/8".parse()?], ForwardedField::XForwardedFor);
    let slow = async move || {
        gate.wait().await;
        gate.wait().await;
        "done\n"
    };
    // axum applies a layer to each route; the layer holds the limiter, so both share one limit.
    let limit = RateLimitLayer::keyed_http(limiter, by_address).http();
    Ok(Router::new()
        .route("/", get(async || "hello\n"))
        .route("/slow", get(slow))
        .layer(limit))
}

async fn story() -> Result<(), Box<dyn Error>> {
    let limiter = KeyedRateLimiter::<IpAddr>::new("2/m".parse::<Quota>()?, 10_000)?;
    let gate = Arc::new(Barrier::new(2));
    let app =
        app(limiter.clone(), gate.clone())?.into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async {
        // An error means that the other end is gone: stop as well.
        let _ = stopped.await;
    });
    let server = tokio::spawn(server.into_future());

    let anna = "192.0.2.1";
    let first = ask(address, "/", anna).await?;
    assert_eq!(first.status(), "200");
    assert_eq!(
        first.field("ratelimit-policy"),
        Some("\"default\";q=2;w=60")
    );
    assert_eq!(first.field("ratelimit"), Some("\"default\";r=1;t=30"));
    assert_eq!(ask(address, "/", anna).await?.status(), "200");

    let refused = ask(address, "/", anna).await?;
    assert_eq!(refused.status(), "429");
    let wait: u64 = refused
        .field("retry-after")
        .ok_or("no Retry-After")?
        .parse()?;
    assert!((1..=30).contains(&wait), "Retry-After: {wait}");

    // What a client writes itself stands before what the proxy appends.
    let forged = ask(address, "/", &format!("203.0.113.9, {anna}")).await?;
    assert_eq!(forged.status(), "429");

    // Another client has a bucket of its own.
    let bela = ask(address, "/", "192.0.2.2").await?;
    assert_eq!(bela.status(), "200");
    assert_eq!(limiter.count_keys(), 2);

    // A request in flight when the server is told to stop is still answered.
    let at_the_gate = async {
        gate.wait().await;
        let told = stop.send(());
        gate.wait().await;
        told
    };
    let (slow, told) = tokio::join!(ask(address, "/slow", "192.0.2.2"), at_the_gate);
    assert_eq!(slow?.status(), "200");
    assert_eq!(told, Ok(()));
    server.await??;
    println!("stopped; {} clients were limited", limiter.count_keys());
    Ok(())
}

/// Asks for `path` as the proxy would for a client, and prints what comes back.
async fn ask(
    server: SocketAddr,
    path: &str,
    forwarded_for: &str,
) -> Result<Answer, Box<dyn Error>> {
    let mut connection = TcpStream::connect(server).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {server}\r\nx-forwarded-for: {forwarded_for}\r\n\
         connection: close\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).await?;
    let answer = Answer::read(connection).await?;
    println!("GET {path} for {forwarded_for}: {}", answer.status());
    for name in ["ratelimit", "ratelimit-policy", "retry-after"] {
        if let Some(value) = answer.field(name) {
            println!("    {name}: {value}");
        }
    }
    Ok(answer)
}

/// A response, as it came over the connection.
struct Answer(String);

impl Answer {
    async fn read(connection: TcpStream) -> Result<Self, Box<dyn Error>> {
        const BYTES_MAX: u64 = 16 * 1024;
        let mut text = String::new();
        connection.take(BYTES_MAX).read_to_string(&mut text).await?;
        Ok(Self(text))
    }

    fn status(&self) -> &str {
        self.0.split(' ').nth(1).unwrap_or("none")
    }

    fn field(&self, name: &str) -> Option<&str> {
        let head = self.0.split("\r\n\r\n").next()?;
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.find_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value))
    }
}

#[test]
fn the_story_holds() {
    main().expect("it ends well");
}
