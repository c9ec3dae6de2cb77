use std::future::poll_fn;
use std::io::{ErrorKind, Read};
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake};
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// More than is held.
const LARGE: usize = 3_000;

fn on_one_thread<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

/// A socket, and its peer, which blocks for some seconds at most.
async fn pair(outbox: &Outbox) -> (Socket, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
    let (peer, _) = listener.accept().unwrap();
    let patience = Some(Duration::from_secs(10));
    peer.set_read_timeout(patience).unwrap();
    (Socket::new(stream.unwrap(), outbox.clone()), peer)
}

fn has_nothing(peer: &mut std::net::TcpStream) -> bool {
    peer.set_nonblocking(true).unwrap();
    let read = peer.read(&mut [0]);
    peer.set_nonblocking(false).unwrap();
    matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

fn read(peer: &mut std::net::TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    peer.read_exact(&mut bytes).unwrap();
    bytes
}

/// Lets all tasks that are ready have their turn.
async fn turn() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn small_writes_leave_when_the_tasks_before_them_had_their_turn() {
    on_one_thread(async {
        let outbox = Outbox::default();
        tokio::spawn(outbox.clone().serve());
        turn().await;
        let (mut first, mut first_peer) = pair(&outbox).await;
        let (mut second, mut second_peer) = pair(&outbox).await;
        first.write_all(b"one").await.unwrap();
        first.flush().await.unwrap();
        assert!(has_nothing(&mut first_peer));
        second.write_all(b"two").await.unwrap();
        first.write_all(b", three").await.unwrap();
        assert!(has_nothing(&mut first_peer) && has_nothing(&mut second_peer));
        assert_eq!(outbox.0.lock().outs.len(), 2, "one entry for each");
        turn().await;
        assert_eq!(read(&mut first_peer, 10), b"one, three");
        assert_eq!(read(&mut second_peer, 3), b"two");
        assert!(outbox.0.lock().outs.is_empty());
        // And once more.
        first.write_all(b"four").await.unwrap();
        turn().await;
        assert_eq!(read(&mut first_peer, 4), b"four");
    });
}

#[test]
fn what_is_large_takes_along_what_is_held_and_waits_for_nobody() {
    on_one_thread(async {
        let (mut socket, mut peer) = pair(&Outbox::default()).await;
        socket.write_all(b"small").await.unwrap();
        socket.write_all(&[7; LARGE]).await.unwrap();
        assert_eq!(read(&mut peer, 5), b"small");
        assert_eq!(read(&mut peer, LARGE), [7; LARGE]);
    });
}

#[test]
fn a_socket_that_is_dropped_leaves_nothing_behind() {
    on_one_thread(async {
        let (mut socket, mut peer) = pair(&Outbox::default()).await;
        socket.write_all(b"small").await.unwrap();
        drop(socket);
        assert_eq!(read(&mut peer, 5), b"small");
    });
}

#[test]
fn a_shutdown_comes_behind_what_is_held() {
    on_one_thread(async {
        let (mut socket, mut peer) = pair(&Outbox::default()).await;
        socket.write_all(b"small").await.unwrap();
        socket.shutdown().await.unwrap();
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"small");
    });
}

#[derive(Debug, Default)]
struct Task(AtomicBool);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn what_the_kernel_does_not_take_is_waited_for_by_the_task() {
    on_one_thread(async {
        let outbox = Outbox::default();
        let (mut socket, mut peer) = pair(&outbox).await;
        let task = Arc::new(Task::default());
        let waker = task.clone().into();
        let mut cx = Context::from_waker(&waker);
        let mut sent = 0;
        while let Poll::Ready(written) = Pin::new(&mut socket).poll_write(&mut cx, &[0; 65_536]) {
            sent += written.unwrap();
        }
        assert!(
            Pin::new(&mut socket)
                .poll_write(&mut cx, b"small")
                .is_ready()
        );
        assert!(Pin::new(&mut socket).poll_flush(&mut cx).is_ready());
        tokio::spawn(outbox.clone().serve());
        turn().await;
        assert!(task.0.load(Ordering::Relaxed), "the task is told");
        assert!(Pin::new(&mut socket).poll_flush(&mut cx).is_pending());
        assert!(Pin::new(&mut socket).poll_write(&mut cx, b"!").is_pending());
        let reading = std::thread::spawn(move || read(&mut peer, sent + 6));
        socket.write_all(b"!").await.unwrap();
        poll_fn(|cx| socket.poll_leave(cx)).await.unwrap();
        assert!(reading.join().unwrap().ends_with(b"\0small!"));
    });
}

#[test]
fn a_write_that_fails_later_is_told_by_the_next_flush() {
    on_one_thread(async {
        let outbox = Outbox::default();
        tokio::spawn(outbox.clone().serve());
        let (mut socket, peer) = pair(&outbox).await;
        drop(peer);
        // The first may leave, and be answered with a reset.
        let failed = async {
            loop {
                socket.write_all(b"small").await?;
                turn().await;
                socket.flush().await?;
            }
        };
        let failed: std::io::Result<()> = failed.await;
        let kind = failed.unwrap_err().kind();
        assert!(matches!(
            kind,
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        ));
        assert_eq!(socket.flush().await.unwrap_err().kind(), kind);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_written_arrives_in_its_order(
        writes in proptest::collection::vec((0..2_000_usize, 1..4_usize, any::<bool>()), 0..20),
    ) {
        on_one_thread(async {
            let outbox = Outbox::default();
            tokio::spawn(outbox.clone().serve());
            let (mut socket, mut peer) = pair(&outbox).await;
            let (mut wanted, mut next) = (Vec::new(), 0_u8);
            for (len, pieces, ends_turn) in writes {
                let bytes: Vec<u8> = (0..len).map(|_| { next = next.wrapping_add(1); next }).collect();
                let mut left: Vec<_> = bytes.chunks(len.div_ceil(pieces).max(1)).map(std::io::IoSlice::new).collect();
                let mut left = &mut left[..];
                while !left.is_empty() {
                    let written = socket.write_vectored(left).await.unwrap();
                    std::io::IoSlice::advance_slices(&mut left, written);
                }
                wanted.extend(bytes);
                if ends_turn {
                    turn().await;
                }
            }
            poll_fn(|cx| socket.poll_leave(cx)).await.unwrap();
            assert_eq!(read(&mut peer, wanted.len()), wanted);
        });
    }
}
