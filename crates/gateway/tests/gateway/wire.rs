//! HTTP/1.1 by hand, for both ends of a connection. Everything has a deadline.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than anything takes, even on a machine that is busy with other things.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// One end of a connection.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// The first line and the fields of a message.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) first: String,
    pub(crate) fields: Vec<(String, String)>,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Another handle on the connection, to write while this one reads.
    pub(crate) fn try_clone(&self) -> Self {
        Self::new(self.stream.try_clone().unwrap())
    }

    /// Writes where the other end may be gone already.
    pub(crate) fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Has the other end told of a reset, and not of an end, when this one is dropped.
    pub(crate) fn reset(&mut self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Sends a request without a body; `fields` are whole lines.
    pub(crate) fn ask(&mut self, method: &str, target: &str, fields: &[&str]) {
        let mut text = format!("{method} {target} HTTP/1.1\r\n");
        if !fields
            .iter()
            .any(|field| field.to_lowercase().starts_with("host:"))
        {
            text.push_str("host: a.test\r\n");
        }
        for field in fields {
            text.push_str(field);
            text.push_str("\r\n");
        }
        self.write(text + "\r\n");
    }

    /// Sends a GET, and reads the response.
    pub(crate) fn get(&mut self, target: &str, fields: &[&str]) -> Reply {
        self.ask("GET", target, fields);
        self.reply()
    }

    /// The next head; `None` where the connection ends instead.
    pub(crate) fn head(&mut self) -> Option<Head> {
        while find(&self.buffer, b"\r\n\r\n").is_none() {
            if !self.fill() {
                assert!(self.buffer.is_empty(), "half a head: {:?}", self.buffer);
                return None;
            }
        }
        let end = find(&self.buffer, b"\r\n\r\n")?;
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let text = String::from_utf8(head).unwrap();
        let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
        let first = lines.next().unwrap().to_owned();
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_lowercase(), value.trim().to_owned())
        });
        Some(Head {
            first,
            fields: fields.collect(),
        })
    }

    /// The response to anything but HEAD, to its end.
    pub(crate) fn reply(&mut self) -> Reply {
        self.try_reply()
            .expect("the connection ended without a response")
    }

    pub(crate) fn try_reply(&mut self) -> Option<Reply> {
        let head = self.head()?;
        let status = head.status();
        let body = if matches!(status, 100..200 | 204 | 304) {
            Vec::new()
        } else {
            self.body(&head)
        };
        Some(Reply { status, head, body })
    }

    /// The body of a message with this head. Without a length, a request has none and a response
    /// goes on to the end of the connection.
    pub(crate) fn body(&mut self, head: &Head) -> Vec<u8> {
        if head.field("transfer-encoding").is_some() {
            let mut body = Vec::new();
            while let Some(chunk) = self.chunk() {
                body.extend(chunk);
            }
            return body;
        }
        match head.field("content-length") {
            Some(length) => self.take(length.parse().unwrap()),
            None if head.first.starts_with("HTTP/") => {
                while self.fill() {}
                std::mem::take(&mut self.buffer)
            }
            None => Vec::new(),
        }
    }

    /// The next chunk; `None` for the last, which is empty.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line();
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        let chunk = self.take(length);
        assert_eq!(self.line(), "\r\n");
        (length > 0).then_some(chunk)
    }

    /// The next bytes, as they are.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        self.take(count)
    }

    /// The next bytes; `None` where the connection ends instead.
    pub(crate) fn try_bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill() {
                return None;
            }
        }
        Some(self.take(count))
    }

    fn line(&mut self) -> String {
        while find(&self.buffer, b"\r\n").is_none() {
            assert!(self.fill(), "the connection ended within a line");
        }
        let end = find(&self.buffer, b"\r\n").unwrap() + 2;
        String::from_utf8(self.buffer.drain(..end).collect()).unwrap()
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(self.fill(), "the connection ended within a body");
        }
        self.buffer.drain(..length).collect()
    }

    /// Whether the other end closes without sending anything more.
    pub(crate) fn ends(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill()
    }

    /// Reads until the other end closes or resets; what came.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// False at the end of the connection, however it ended.
    fn fill(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("reading failed: {error}"),
        }
    }
}

impl Head {
    /// The only field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.all(name);
        assert!(fields.len() <= 1, "several {name}: {fields:?}");
        fields.first().copied()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.fields.iter().filter(|(found, _)| found == name);
        fields.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn status(&self) -> u16 {
        self.first.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body, which must be a problem that bears the request's id.
    pub(crate) fn problem(&self) -> serde_json::Value {
        assert_eq!(
            self.head.field("content-type"),
            Some("application/problem+json")
        );
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status);
        let id = self.head.field("x-request-id");
        assert!(
            id.is_some() && problem["request_id"].as_str() == id,
            "{self:?}"
        );
        problem
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes
        .windows(pattern.len())
        .position(|window| window == pattern)
}
