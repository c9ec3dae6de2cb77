//! The admin listener: health, readiness and metrics. Its thread also leads the shutdown.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::exchange::{Outbound, Response};
use crate::shared::{Phase, Shared};

const CONNECTIONS_MAX: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Starts the admin thread, which ends when the phase is [`Phase::Stopped`].
pub(crate) fn spawn(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let listener = {
        let _entered = runtime.enter();
        TcpListener::from_std(listener)?
    };
    std::thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || runtime.block_on(run(listener, shared)))
}

async fn run(listener: TcpListener, shared: Arc<Shared>) {
    tokio::spawn(lead_shutdown(shared.clone()));
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut phase = shared.phase.subscribe();
    let mut stopped = std::pin::pin!(phase.wait_for(|phase| *phase == Phase::Stopped));
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Beyond the bound a connection is closed at once.
                    if let Ok(permit) = permits.clone().try_acquire_owned() {
                        tokio::spawn(serve(stream, shared.clone(), permit));
                    }
                }
                Err(_) => shared.clock.sleep(Duration::from_millis(50)).await,
            },
        }
    }
}

/// Readiness off, a wait until that was noticed, then the workers drain.
async fn lead_shutdown(shared: Arc<Shared>) {
    shared.leave.notified().await;
    shared.ready.store(false, Ordering::Relaxed);
    let times = &shared.config.shutdown;
    shared.clock.sleep(times.announce).await;
    shared.drain(shared.clock.now() + times.deadline);
}

async fn serve(stream: TcpStream, shared: Arc<Shared>, _permit: OwnedSemaphorePermit) {
    let service = service_fn(|request| {
        let response = answer(&request, &shared);
        async { Ok::<_, Infallible>(response) }
    });
    // Its errors are the client's.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn answer(request: &Request<Incoming>, shared: &Shared) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allowed);
        return response;
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" if shared.ready.load(Ordering::Relaxed) => text(StatusCode::OK, "ready\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        "/metrics" => match shared.metrics.encode() {
            Ok(metrics) => {
                let mut response = Response::new(Outbound::full(Bytes::from(metrics)));
                let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                let format = HeaderValue::from_static(format);
                response.headers_mut().insert(header::CONTENT_TYPE, format);
                response
            }
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "metrics failed\n"),
        },
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /healthz, /readyz and /metrics\n",
        ),
    }
}

fn text(status: StatusCode, content: &'static str) -> Response {
    let mut response = Response::new(Outbound::full(Bytes::from_static(content.as_bytes())));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
