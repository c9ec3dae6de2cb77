//! A worker of its own, on a clock that is moved by hand.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use stanchion_core::{Clock, Instant, ManualClock};

use super::PING_EVERY;
use crate::config::Config;
use crate::shared::Shared;
use crate::worker;

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACK: u8 = 1;

/// A client with a request under way, written by hand.
struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    time: ManualClock,
}

impl Client {
    fn write(&mut self, kind: u8, flags: u8, stream: u8, content: &[u8]) {
        let length = u8::try_from(content.len()).unwrap();
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, stream];
        frame.extend_from_slice(content);
        self.stream.write_all(&frame).unwrap();
    }

    /// Lets time pass until the gateway sends a PING, which this gives, or closes.
    fn wait_for_ping(&mut self) -> Option<Vec<u8>> {
        // Ten times as long as it may take.
        for _ in 0..10 * PING_EVERY.as_secs() {
            loop {
                let mut bytes = [0; 1024];
                match self.stream.read(&mut bytes) {
                    Ok(0) => return None,
                    Ok(read) => self.received.extend_from_slice(&bytes[..read]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => return None,
                }
            }
            while let Some((kind, flags, content)) = self.next_frame() {
                if (kind, flags) == (PING, 0) {
                    return Some(content);
                }
            }
            self.time.advance(Duration::from_secs(1));
        }
        panic!("the gateway neither asks nor closes");
    }

    fn next_frame(&mut self) -> Option<(u8, u8, Vec<u8>)> {
        let [high, middle, low, kind, flags, ..] = *self.received.get(..9)? else {
            return None;
        };
        let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap();
        let content = self.received.get(9..9 + length)?.to_vec();
        self.received.drain(..9 + length);
        Some((kind, flags, content))
    }
}

#[test]
fn a_client_that_waits_is_asked_whether_it_is_there_and_closed_if_it_is_not() {
    // A server that takes the request and says nothing.
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "listen.address = \"127.0.0.1:0\"\n\
         [upstream.a]\nendpoints = [\"http://{}\"]\nresponse_timeout = \"10h\"\n\
         [[route]]\nid = \"r\"\nupstream = \"a\"\n",
        origin.local_addr().unwrap()
    );
    let (clock, time) = Clock::manual();
    let config = Config::from_toml(&text).unwrap();
    let shared = Arc::new(Shared::new(config, clock, (), Box::default()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let worker = worker::spawn(0, listener, shared.clone(), None).unwrap();

    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let mut client = Client {
        stream,
        received: Vec::new(),
        time,
    };
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    client.stream.write_all(preface).unwrap();
    client.write(SETTINGS, 0, 0, b"");
    // `GET http://a.test/`, with the end of the head and of the stream.
    client.write(HEADERS, 5, 1, b"\x82\x86\x84\x41\x06a.test");
    let (mut taken, _) = origin.accept().unwrap();
    assert!(taken.read(&mut [0; 64]).unwrap() > 0);

    for _ in 0..3 {
        let asked = client.wait_for_ping().expect("who answers is not closed");
        client.write(PING, ACK, 0, &asked);
    }
    assert!(client.wait_for_ping().is_some());
    assert_eq!(client.wait_for_ping(), None);

    shared.drain(Instant::ZERO);
    testkit::eventually_blocking(Duration::from_secs(60), "the worker has ended", || {
        client.time.advance(Duration::from_secs(1));
        worker.is_finished()
    });
    worker.join().unwrap();
}
