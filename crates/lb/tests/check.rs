//! Active checks: on a clock that is moved by hand, and over real sockets.

#![cfg(feature = "tokio")]

mod check {
    mod drive;
    #[cfg(feature = "http")]
    mod http;
    mod tcp;
}
