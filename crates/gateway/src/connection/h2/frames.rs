use std::time::Duration;

use stanchion_core::Instant;

/// How many idle frames a client may send in one window, whatever else it does.
const MAX: u64 = 1_000;
/// How many more for each frame that has a part of a request or of a response in it: some clients
/// measure the way with a PING for each that they get.
const PER_PART: u64 = 10;
const WINDOW: Duration = Duration::from_secs(10);

/// The first bytes of a connection, which are no frame.
const PREFACE_BYTES: u32 = 24;
const HEAD_BYTES: usize = 9;

/// Counts the frames of one client that ask for nothing and carry nothing: PING, SETTINGS, PRIORITY,
/// and what is not known.
///
/// `h2` bounds how many answers to them wait to be sent. A client that reads them may go on for as
/// long as it likes, and each of 9 bytes costs the gateway a frame to read and one to write.
#[derive(Debug)]
pub(in crate::connection) struct Frames {
    head: [u8; HEAD_BYTES],
    /// So much of the head of a frame came in.
    head_bytes: usize,
    /// So much of its content is still to come.
    content_bytes: u32,
    window_began: Instant,
    idle: u64,
    /// Frames with a part of a request, since the connection began.
    parts: u64,
    /// Of those and of others like them, when the window began.
    parts_before: u64,
}

impl Frames {
    pub(in crate::connection) fn new(now: Instant) -> Self {
        Self {
            head: [0; HEAD_BYTES],
            head_bytes: 0,
            content_bytes: PREFACE_BYTES,
            window_began: now,
            idle: 0,
            parts: 0,
            parts_before: 0,
        }
    }

    /// Looks at what came in; whether it holds idle frames.
    pub(in crate::connection) fn read(&mut self, mut bytes: &[u8]) -> bool {
        let before = self.idle;
        loop {
            let content = usize::try_from(self.content_bytes).unwrap_or(usize::MAX);
            let Some(rest) = bytes.get(content..) else {
                // At most as many as are to come.
                self.content_bytes -= u32::try_from(bytes.len()).unwrap_or(self.content_bytes);
                return self.idle > before;
            };
            self.content_bytes = 0;
            let len = rest.len().min(HEAD_BYTES - self.head_bytes);
            self.head[self.head_bytes..self.head_bytes + len].copy_from_slice(&rest[..len]);
            self.head_bytes += len;
            bytes = &rest[len..];
            if self.head_bytes < HEAD_BYTES {
                return self.idle > before;
            }
            self.head_bytes = 0;
            self.begins();
        }
    }

    fn begins(&mut self) {
        let [high, middle, low, kind, ..] = self.head;
        self.content_bytes = u32::from_be_bytes([0, high, middle, low]);
        match kind {
            // DATA; empty ones are counted by `h2`.
            0 => self.parts += u64::from(self.content_bytes > 0),
            // HEADERS.
            1 => self.parts += 1,
            // RST_STREAM, GOAWAY, WINDOW_UPDATE, CONTINUATION: bounded by others, or by what they
            // are about.
            3 | 7 | 8 | 9 => {}
            _ => self.idle += 1,
        }
    }

    /// Whether the client sends more idle frames than anyone needs; `parts` of responses were sent
    /// on the connection so far.
    pub(in crate::connection) fn are_a_flood(&mut self, parts: u64, now: Instant) -> bool {
        let parts = self.parts + parts;
        if now - self.window_began >= WINDOW {
            self.window_began = now;
            self.idle = 0;
            self.parts_before = parts;
        }
        self.idle > MAX + PER_PART * (parts - self.parts_before)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, content: usize) -> Vec<u8> {
        let length = u32::try_from(content).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, 0, 0, 0, 0, 0];
        frame.resize(frame.len() + content, PING);
        frame
    }

    fn pings(frames: &mut Frames, count: u64) {
        for _ in 0..count {
            assert!(frames.read(&frame(PING, 8)));
        }
    }

    fn begun() -> Frames {
        let mut frames = Frames::new(Instant::ZERO);
        assert!(!frames.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        frames
    }

    #[test]
    fn idle_frames_are_a_flood_unless_parts_of_messages_come_with_them() {
        let mut frames = begun();
        pings(&mut frames, MAX);
        assert!(!frames.are_a_flood(0, Instant::ZERO));
        pings(&mut frames, PER_PART);
        assert!(frames.are_a_flood(0, Instant::ZERO));
        assert!(!frames.are_a_flood(1, Instant::ZERO));
        assert!(!frames.read(&frame(0, 5)));
        assert!(!frames.are_a_flood(0, Instant::ZERO));
        pings(&mut frames, 1);
        assert!(frames.are_a_flood(0, Instant::ZERO));
    }

    #[test]
    fn a_window_forgets_the_frames_before_it_and_what_excused_them() {
        let mut frames = begun();
        let mut now = Instant::ZERO;
        for _ in 0..3 {
            pings(&mut frames, MAX);
            assert!(!frames.are_a_flood(7, now));
            now += WINDOW;
            assert!(!frames.are_a_flood(7, now));
        }
        pings(&mut frames, MAX + 1);
        assert!(frames.are_a_flood(7, now));
    }

    proptest! {
        /// However the bytes are cut, the frames are the same.
        #[test]
        fn frames_are_counted_by_their_kinds(
            kinds in proptest::collection::vec((0_u8..12, 0_usize..40), 0..40),
            cuts in proptest::collection::vec(1_usize..30, 1..10),
        ) {
            let mut frames = begun();
            let bytes: Vec<u8> = kinds.iter().flat_map(|(kind, len)| frame(*kind, *len)).collect();
            let (mut rest, mut cuts, mut heard) = (&bytes[..], cuts.iter().cycle(), false);
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                heard |= frames.read(now);
                rest = later;
            }
            let idle = kinds.iter().filter(|(kind, _)| ![0, 1, 3, 7, 8, 9].contains(kind)).count();
            let part = |(kind, len): &&(u8, usize)| *kind == 1 || (*kind == 0 && *len > 0);
            prop_assert_eq!(frames.idle, idle as u64);
            prop_assert_eq!(frames.parts, kinds.iter().filter(part).count() as u64);
            prop_assert_eq!(heard, idle > 0);
        }
    }
}
