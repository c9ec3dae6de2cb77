//! An HTTP gateway.
