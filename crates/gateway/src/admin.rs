//! The admin listener: for operators and their tools. Its thread also leads the shutdown.

mod access;
mod answer;
mod body;
mod breakers;
mod endpoints;
mod explain;
mod io;
mod limits;
mod listeners;
mod page;
mod query;
mod service;
mod stats;
mod switches;
mod token;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::shared::{Phase, Shared};
use crate::{reload, upkeep};
pub(crate) use access::Access;
use io::AdminIo;
use service::{Admin, Ends};

const CONNECTIONS_MAX: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Starts the admin thread, which ends when the phase is [`Phase::Stopped`].
pub(crate) fn spawn(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    access: Access,
) -> std::io::Result<JoinHandle<()>> {
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
        .spawn(move || runtime.block_on(run(listener, shared, access)))
}

async fn run(listener: TcpListener, shared: Arc<Shared>, access: Access) {
    let admin = Arc::new(Admin::new(shared.clone(), access));
    tokio::spawn(reload::watch(shared.clone()));
    tokio::spawn(upkeep::keep(shared.clone()));
    tokio::spawn(lead_shutdown(admin.clone()));
    tokio::spawn(watch(admin.clone()));
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut phase = shared.phase.subscribe();
    let mut stopped = std::pin::pin!(phase.wait_for(|phase| *phase == Phase::Stopped));
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Beyond the bound a connection is closed at once.
                    if let Ok(permit) = permits.clone().try_acquire_owned() {
                        tokio::spawn(serve(stream, peer, admin.clone(), permit));
                    }
                }
                Err(_) => shared.clock.sleep(Duration::from_millis(50)).await,
            },
        }
    }
}

/// Readiness off, a wait until that was noticed, then the workers drain.
async fn lead_shutdown(admin: Arc<Admin>) {
    let shared = &admin.shared;
    shared.leave.notified().await;
    shared.ready.store(false, Ordering::Relaxed);
    admin.tell();
    let times = shared.snapshot().config.shutdown.clone();
    shared.clock.sleep(times.announce).await;
    shared.drain(shared.clock.now() + times.deadline);
}

/// Reads the counters once a second.
async fn watch(admin: Arc<Admin>) {
    let clock = admin.shared.clock.clone();
    let mut next = clock.now();
    loop {
        // A second that was missed is not made up for.
        next = (next + stats::PERIOD).max(clock.now());
        clock.sleep_until(next).await;
        admin.tick();
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    admin: Arc<Admin>,
    _permit: OwnedSemaphorePermit,
) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    // Events are small, and each of them is to be seen at once.
    let _ = stream.set_nodelay(true);
    let io = AdminIo::new(stream, &admin.shared.clock);
    let service = service_fn(|request| {
        let admin = admin.clone();
        async move { Ok::<_, Infallible>(admin.answer(&request, Ends { local, peer }).await) }
    });
    // Its errors are the client's.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(io), service)
        .await;
}
