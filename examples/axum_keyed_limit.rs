//! An axum service that limits each client's address, over real HTTP.
//!
//! Run it with `cargo run -p stanchion-examples --example axum_keyed_limit`; it asks itself four
//! times and ends.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::routing::get;
use stanchion::ratelimit::http::ClientAddr;
use stanchion::ratelimit::{KeyedRateLimiter, RateLimitLayer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A service that admits three requests a minute from each address.
fn app() -> Result<Router, Box<dyn Error>> {
    let limiter = KeyedRateLimiter::<IpAddr>::new("3/m".parse()?, 100_000)?;
    let by_address = ClientAddr::new().with_peer(|extensions| {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(peer.0.ip())
    });
    // axum clones the layer for each route; all of them share the limiter.
    let limit = RateLimitLayer::keyed::<Request>(limiter, by_address).http();
    let hello = get(async || "hello\n");
    Ok(Router::new()
        .route("/", hello.clone())
        .route("/again", hello)
        .layer(limit))
}

/// The head of the answer to `GET path`, over a connection of its own.
async fn head(addr: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: example\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer
        .split("\r\n\r\n")
        .next()
        .unwrap_or_default()
        .to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let service = app()?.into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async move {
        let end = async { drop(stopped.await) };
        axum::serve(listener, service)
            .with_graceful_shutdown(end)
            .await
    });

    for (path, status) in [("/", 200), ("/again", 200), ("/", 200), ("/again", 429)] {
        let head = head(addr, path).await?;
        println!("GET {path}\n{head}\n");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(
            head.contains("ratelimit-policy: \"default\";q=3;w=60"),
            "{head}"
        );
        assert_eq!(head.contains("retry-after: "), status == 429, "{head}");
    }

    drop(stop);
    server.await??;
    Ok(())
}

#[test]
fn the_story_holds() {
    main().expect("it ends well");
}
