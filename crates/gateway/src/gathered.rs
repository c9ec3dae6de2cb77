//! Writes several pieces at once.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// The most that is copied to be written in one piece, in bytes.
const SMALL: usize = 1024;

/// Writes as much of the pieces as there is room for; `scratch` is kept for the next write.
///
/// A call for several pieces costs the kernel more than one for one, by more than it takes to copy a
/// head and a small body.
pub(crate) fn poll_write<W: AsyncWrite + Unpin>(
    stream: &mut W,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
    scratch: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    let stream = Pin::new(stream);
    if let [piece] = pieces {
        return stream.poll_write(cx, piece);
    }
    if pieces.iter().map(|piece| piece.len()).sum::<usize>() > SMALL {
        return stream.poll_write_vectored(cx, pieces);
    }
    scratch.clear();
    for piece in pieces {
        scratch.extend_from_slice(piece);
    }
    stream.poll_write(cx, scratch)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_written_in_their_order_and_small_ones_together(
            pieces in proptest::collection::vec(proptest::collection::vec(0_u8.., 0..600), 1..6),
        ) {
            let mut written = Vec::new();
            let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut cx = Context::from_waker(Waker::noop());
            let mut scratch = b"of before".to_vec();
            let wrote = poll_write(&mut written, &mut cx, &slices, &mut scratch);
            prop_assert!(matches!(wrote, Poll::Ready(Ok(len)) if len == written.len()));
            let all = pieces.concat();
            prop_assert!(all.starts_with(&written));
            prop_assert!(all.len() > SMALL || all == written);
        }
    }
}
