//! Listening sockets, one for each worker on the same address, and how they are closed so that no
//! connection is lost.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

const BACKLOG: i32 = 1024;

/// Binds `count` sockets to one address, between which the kernel shares out connections.
///
/// Port 0 takes a free port. An address on which someone else listens is refused, though both
/// might share it.
pub(crate) fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    // Without SO_REUSEPORT this fails wherever another process listens; with it, the other one
    // would silently lose connections to us.
    drop(socket(address, false)?);
    let first = socket(address, true)?;
    first.listen(BACKLOG)?;
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    let mut listeners = vec![TcpListener::from(first)];
    while listeners.len() < count {
        let next = if cfg!(target_os = "linux") {
            let next = socket(address, true)?;
            next.listen(BACKLOG)?;
            next.into()
        } else {
            // Elsewhere the last socket gets all connections, so all workers take from one.
            listeners[0].try_clone()?
        };
        listeners.push(next);
    }
    Ok(listeners)
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Has the kernel drop new attempts to connect, while handshakes under way are finished.
///
/// Closing a listening socket resets the connections in its queue. So a worker calls this, takes
/// what still comes in, and closes when nothing can come any more. A client that tries meanwhile
/// repeats its attempt after a second, and then is refused, or finds the next process.
#[cfg(target_os = "linux")]
pub(crate) fn refuse_new(listener: &tokio::net::TcpListener) -> io::Result<()> {
    use socket2::{SockFilter, SockRef};

    // A packet is shown to the filter from its TCP header on; the flags are byte 13.
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    let drop_first_packets = [
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    SockRef::from(listener).attach_filter(&drop_first_packets)
}

/// Not known how, here; what is in the queue at the end is taken, and a moment remains.
#[cfg(not(target_os = "linux"))]
pub(crate) fn refuse_new(_listener: &tokio::net::TcpListener) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    const LOOPBACK: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn all_sockets_share_one_address_and_nobody_else_does() {
        let listeners = bind(LOOPBACK, 3).unwrap();
        let address = listeners[0].local_addr().unwrap();
        for listener in &listeners {
            assert_eq!(listener.local_addr().unwrap(), address);
        }
        assert_eq!(
            bind(address, 1).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(listeners);
        bind(address, 1).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn new_attempts_are_dropped_and_finished_handshakes_are_kept() {
        let listener = bind(LOOPBACK, 1).unwrap().remove(0);
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let before = TcpStream::connect(address).unwrap();

        refuse_new(&listener).unwrap();
        let attempt = TcpStream::connect_timeout(&address, Duration::from_millis(100));
        assert_eq!(attempt.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (accepted, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, before.local_addr().unwrap());
        drop(accepted);
    }
}
