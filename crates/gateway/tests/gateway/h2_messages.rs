//! Many small messages in HTTP/2, as gRPC sends them, and bodies that are too large.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use bytes::Bytes;
use http::{Request, Response};
use stanchion_gateway::Gateway;

use crate::http2::{Client, answer, get, post, run};
use crate::origin2::Origin2;
use crate::setup::{LONG, Origin, Setup, Then, before, eventually, metric, ok};

fn no_floods(gateway: &Gateway) {
    assert!(metric(gateway, "http2_floods_total").abs() < f64::EPSILON);
}

/// An origin of HTTP/1.1 that answers with how much it was sent.
fn counting() -> Origin {
    Origin::start(|head, wire| {
        let body = wire.body(head);
        wire.write(ok(&body.len().to_string()));
        Then::Keep
    })
}

/// `count` messages of this length in one burst, and the answer.
async fn burst(gateway: &Gateway, count: usize, length: usize) -> Result<String, h2::Error> {
    let mut client = Client::connect(gateway.address()).await;
    let (response, mut stream) = client.begin(post("/"), false).await;
    let message = Bytes::from(vec![b'x'; length]);
    for _ in 1..count {
        stream.send_data(message.clone(), false)?;
    }
    stream.send_data(message, true)?;
    let answer = answer(response.await?).await?;
    Ok(answer.text().to_owned())
}

#[test]
fn a_burst_of_tiny_messages_passes() {
    let origin = counting();
    let gateway = before(&origin);
    run(async {
        let answer = burst(&gateway, 20_000, 6).await;
        if answer.is_err() {
            let m = crate::setup::admin(&gateway, "/metrics").1;
            for l in m.lines().filter(|l| {
                l.contains("flood") || l.contains("fail") || l.contains("requests_total")
            }) {
                eprintln!("M {l}");
            }
        }
        assert_eq!(answer.unwrap(), "120000");
    });
    no_floods(&gateway);
    gateway.shutdown();
}

#[test]
fn a_window_full_of_small_messages_waits_for_a_slow_server() {
    // It takes nothing until it is told to.
    let (go, wait) = channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let mut patient = h2::server::Builder::new();
    patient.data_frame_budget(usize::MAX);
    let origin = Origin2::with(patient, {
        let wait = Arc::new(wait);
        move |mut asked| {
            let wait = wait.clone();
            async move {
                tokio::task::spawn_blocking(move || {
                    wait.lock().unwrap().recv_timeout(LONG).unwrap();
                })
                .await
                .unwrap();
                let mut length = 0;
                while let Some(Ok(chunk)) = asked.body.data().await {
                    let _ = asked.body.flow_control().release_capacity(chunk.len());
                    length += chunk.len();
                }
                asked.say(if length == 300_000 { "all" } else { "not all" });
            }
        }
    });
    let setup = Setup {
        upstream: "protocol = \"h2\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let (response, mut stream) = client.begin(post("/"), false).await;
        // More than the windows on the way take.
        let message = Bytes::from(vec![b'x'; 30]);
        for _ in 0..10_000 {
            stream.send_data(message.clone(), false).unwrap();
        }
        eventually("the request is there", || origin.requests().len() == 1);
        // Another one shows that what was sent before it has been read.
        let mut other = Client::connect(gateway.address()).await;
        assert_eq!(other.get("/%zz").await.status(), 400);
        assert_eq!(client.get("/%zz").await.status(), 400);
        go.send(()).unwrap();
        stream.send_data(Bytes::new(), true).unwrap();
        let answer = answer(response.await.unwrap()).await.unwrap();
        assert_eq!(answer.text(), "all");
    });
    no_floods(&gateway);
    gateway.shutdown();
}

#[test]
fn a_slow_reader_of_small_messages_holds_nobody_up() {
    let written = Arc::new(AtomicBool::new(false));
    let told = written.clone();
    let origin = Origin2::start(move |mut asked| {
        let told = told.clone();
        async move {
            if asked.head.uri.path() != "/stream" {
                asked.say("hello");
                return;
            }
            let response = Response::new(());
            let mut stream = asked.respond.send_response(response, false).unwrap();
            // Far more than all windows on the way take.
            let message = Bytes::from_static(b"0123456789");
            for _ in 0..30_000 {
                stream.send_data(message.clone(), false).unwrap();
            }
            told.store(true, Ordering::SeqCst);
            stream.send_data(Bytes::new(), true).unwrap();
            let _ = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
        }
    });
    let setup = Setup {
        upstream: "protocol = \"h2\"",
        ..Setup::default()
    };
    let gateway = setup.start(&[origin.url()]);
    run(async {
        let mut slow = Vec::new();
        for _ in 0..3 {
            let mut patient = h2::client::Builder::new();
            patient.data_frame_budget(usize::MAX);
            let mut client = Client::with(gateway.address(), patient).await;
            let (response, _) = client.begin(get("/stream"), true).await;
            slow.push((client, response.await.unwrap().into_body()));
        }
        let mut other = Client::connect(gateway.address()).await;
        for _ in 0..50 {
            assert_eq!(other.get("/").await.text(), "hello");
        }
        // They get all of it when they want it.
        for (_, body) in &mut slow {
            let mut length = 0;
            while let Some(chunk) = body.data().await {
                let chunk = chunk.unwrap();
                body.flow_control().release_capacity(chunk.len()).unwrap();
                length += chunk.len();
            }
            assert_eq!(length, 300_000);
        }
    });
    assert!(written.load(Ordering::SeqCst));
    assert_eq!(origin.connections(), 1);
    gateway.shutdown();
}

#[test]
fn a_body_that_is_too_large_is_413_told_or_not() {
    let (one, two) = (counting(), Origin2::saying("hello"));
    for (url, upstream) in [(one.url(), ""), (two.url(), "protocol = \"h2\"")] {
        let setup = Setup {
            listen: "body_bytes_max = \"1KiB\"",
            upstream,
            ..Setup::default()
        };
        let gateway = setup.start(&[url]);
        run(async {
            let mut client = Client::connect(gateway.address()).await;
            let told = Request::post("http://a.test/").header("content-length", "2000");
            let (response, _stream) = client.begin(told.body(()).unwrap(), false).await;
            let told = answer(response.await.unwrap()).await.unwrap();
            assert_eq!(told.problem()["status"], 413, "{upstream}");

            let (response, mut stream) = client.begin(post("/"), false).await;
            let chunk = Bytes::from(vec![b'x'; 700]);
            stream.send_data(chunk.clone(), false).unwrap();
            stream.send_data(chunk, false).unwrap();
            let grown = answer(response.await.unwrap()).await.unwrap();
            assert_eq!(grown.problem()["status"], 413, "{upstream}");

            // As much as is allowed, on the same connection.
            let all = "x".repeat(1024);
            let answer = client.ask(post("/"), Some(&all)).await;
            assert_eq!(answer.status(), 200, "{upstream}");
        });
        gateway.shutdown();
    }
}

#[test]
fn paths_have_one_form_in_http_2_too() {
    let origin = counting();
    let gateway = before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        for (path, sent) in [
            ("/a/../b//c/./%61?x=/../%2f", Some("/b/c/a?x=/../%2f")),
            ("/../a", None),
            ("/a%2fb", None),
            ("/a%5cb", None),
            ("/a%00", None),
            ("/%2e%2e/a", None),
        ] {
            let answer = client.get(path).await;
            let Some(sent) = sent else {
                assert_eq!(answer.status(), 400, "{path}");
                continue;
            };
            assert_eq!(answer.status(), 200, "{path}");
            assert_eq!(origin.last_request().first, format!("GET {sent} HTTP/1.1"));
        }
    });
    assert_eq!(origin.requests().len(), 1);
    gateway.shutdown();
}

#[test]
fn an_expectation_is_met_without_a_word() {
    let origin = counting();
    let gateway = before(&origin);
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let request = Request::post("http://a.test/").header("expect", "100-continue");
        let answer = client.ask(request.body(()).unwrap(), Some("body")).await;
        assert_eq!(answer.text(), "4");
    });
    assert_eq!(origin.last_request().field("expect"), None);
    gateway.shutdown();
}
