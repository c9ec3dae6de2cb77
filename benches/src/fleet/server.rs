//! One server: a queue in order of arrival, and cores.

use super::speed::Speed;
use super::{Fault, FaultKind, MILLISECOND, Nanos};

/// How long a server takes to fail that fails fast.
const FAILS_AFTER: Nanos = MILLISECOND / 5;

#[derive(Debug)]
pub(super) struct Server {
    /// From when on each core is free.
    cores: Vec<Nanos>,
    speed: Speed,
    faults: Vec<Fault>,
    /// Nanoseconds that its cores worked.
    pub(super) worked: Nanos,
}

/// How and when a server is done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) at: Nanos,
    pub(super) failed: bool,
}

impl Server {
    pub(super) fn new(cores: usize, mut speed: Speed, faults: Vec<Fault>) -> Self {
        for fault in &faults {
            if let FaultKind::Slow(factor) = fault.kind {
                speed.scale(fault.from, fault.until, factor);
            }
        }
        Self {
            cores: vec![0; cores],
            speed,
            faults,
            worked: 0,
        }
    }

    /// Takes a call that arrives at `now` and is `work`; calls arrive in the order of time.
    pub(super) fn take(&mut self, now: Nanos, work: f64) -> Done {
        let during = |fault: &&Fault| (fault.from..fault.until).contains(&now);
        let failed = |at| Done { at, failed: true };
        match self.faults.iter().find(during).map(|fault| fault.kind) {
            Some(FaultKind::Down) => return failed(now),
            Some(FaultKind::FailsFast) => return failed(now + FAILS_AFTER),
            Some(FaultKind::Slow(_)) | None => {}
        }
        // What it has when it goes down fails there and then, and it comes back with nothing to do.
        let ahead = self.faults.iter().filter(|fault| fault.from > now);
        let downs = ahead.filter(|fault| fault.kind == FaultKind::Down);
        let down = downs.map(|fault| fault.from).min().unwrap_or(Nanos::MAX);
        let Some(core) = self.cores.iter_mut().min() else {
            return failed(now);
        };
        let start = now.max(*core);
        let finish = self.speed.finish(start, work);
        if finish > down {
            self.worked += down.saturating_sub(start);
            *core = down;
            return failed(down);
        }
        self.worked += finish - start;
        *core = finish;
        Done {
            at: finish,
            failed: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(cores: usize, faults: Vec<Fault>) -> Server {
        Server::new(cores, Speed::steady(1.0), faults)
    }

    fn done(at: Nanos) -> Done {
        Done { at, failed: false }
    }

    fn failed(at: Nanos) -> Done {
        Done { at, failed: true }
    }

    #[test]
    fn calls_wait_for_the_first_free_core() {
        let mut server = server(2, Vec::new());
        assert_eq!(server.take(0, 100.0), done(100));
        assert_eq!(server.take(10, 50.0), done(60));
        assert_eq!(server.take(20, 10.0), done(70));
        assert_eq!(server.take(200, 10.0), done(210));
        assert_eq!(server.worked, 170);
    }

    #[test]
    fn who_goes_down_loses_what_it_had_and_comes_back_idle() {
        let fault = Fault {
            server: 0,
            from: 100,
            until: 200,
            kind: FaultKind::Down,
        };
        let mut server = server(1, vec![fault]);
        assert_eq!(server.take(10, 50.0), done(60));
        assert_eq!(server.take(20, 500.0), failed(100));
        assert_eq!(server.take(30, 500.0), failed(100));
        assert_eq!(server.take(150, 5.0), failed(150));
        assert_eq!(server.take(200, 5.0), done(205));
        assert_eq!(server.worked, 95);
    }

    #[test]
    fn who_fails_fast_does_no_work() {
        let fault = Fault {
            server: 0,
            from: 0,
            until: Nanos::MAX,
            kind: FaultKind::FailsFast,
        };
        let mut server = server(1, vec![fault]);
        assert_eq!(server.take(10, 1e9), failed(10 + FAILS_AFTER));
        assert_eq!(server.worked, 0);
    }
}
