//! The gateway's guard before HTTP/1.1: what it lets through, hyper accepts and divides into the same
//! requests with the same bodies; and however the bytes are cut, the verdict is the same.

use crate::against_hyper;

pub(crate) fn run(data: &[u8]) {
    against_hyper::check(data);
    // Between the bytes of line ends, and here and there.
    let awkward =
        |(place, byte): (usize, &u8)| (*byte == b'\r' || place % 7 == 6).then_some(place + 1);
    let cuts = data.iter().enumerate().filter_map(awkward);
    against_hyper::check_cuts(data, cuts.collect());
}
