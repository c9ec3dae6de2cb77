//! Endpoints listed in a file.

mod changes;
mod error;
mod list;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use stanchion_core::{Clock, Sleep};
use tokio::task::JoinHandle;

use super::Update;
use crate::InvalidConfig;
use changes::Changes;
pub use error::FileError;
pub use list::{Format, parse};

/// The longest list that is read.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Endpoints listed in a file, which is read again and again.
///
/// That sees a change on every file system, through any chain of symbolic links, and whether the
/// file was written in place or replaced. A changed text is taken only once two readings in a row found the
/// same, so that a file half written is not; the first reading is taken as it is. A text that is wrong,
/// and a file that cannot be read, are told once.
///
/// The list is TOML, or JSON with the same fields. Only `address` has to be there; it is the id
/// too, where there is none. A file without the key `endpoint` is wrong, not a list of none.
///
/// ```toml
/// [[endpoint]]
/// address = "10.0.0.1:8080"
///
/// [[endpoint]]
/// id = "web-2"
/// address = "10.0.0.2:8080"
/// weight = 3
/// priority = 1
/// region = "eu"
/// zone = "eu-1a"
/// sub_zone = "rack-7"
/// in_flight_max = 100
/// incarnation = 7
/// metadata = { version = "7" }
/// ```
///
/// The list has at most 16 MiB. The file is read on tokio's threads for what may block.
///
/// # Panics
///
/// When polled outside a tokio runtime.
///
/// # Examples
///
/// ```no_run
/// use std::net::SocketAddr;
/// use stanchion_lb::Balancer;
/// use stanchion_lb::discover::{Discovery, FileWatch};
/// use stanchion_lb::policy::P2c;
///
/// # async fn serve() {
/// let balancer = Balancer::<SocketAddr>::new(P2c::new());
/// let found = FileWatch::new("/etc/web/endpoints.toml");
/// tokio::spawn(Discovery::new(&balancer, found).run());
/// # }
/// ```
#[must_use = "nothing is read unless it is polled"]
pub struct FileWatch<A> {
    path: Arc<Path>,
    format: Format,
    period: Duration,
    clock: Clock,
    changes: Changes,
    state: State,
    address: PhantomData<fn() -> A>,
}

enum State {
    Due,
    Reading(JoinHandle<io::Result<String>>),
    Resting(Pin<Box<Sleep>>),
}

impl<A> FileWatch<A> {
    /// Reads the file at `path` every 500 ms: JSON if its name ends so, else TOML.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            format: Format::of(&path),
            path: path.into(),
            period: Duration::from_millis(500),
            clock: Clock::system(),
            changes: Changes::default(),
            state: State::Due,
            address: PhantomData,
        }
    }

    /// What the file is written in. Default: by the end of its name.
    pub fn with_format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// How long it rests between two readings. Default: 500 ms.
    ///
    /// # Errors
    ///
    /// If it is zero or more than a day.
    pub fn with_period(mut self, period: Duration) -> Result<Self, InvalidConfig> {
        const DAY: Duration = Duration::from_secs(86_400);
        if period.is_zero() || period > DAY {
            let allowed = "more than zero and at most a day";
            return Err(InvalidConfig::new("period", format!("{period:?}"), allowed));
        }
        self.period = period;
        Ok(self)
    }

    /// The clock that it rests by. Default: [`Clock::system`].
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }
}

impl<A> Stream for FileWatch<A>
where
    A: FromStr<Err: fmt::Display>,
{
    type Item = Result<Update<A>, FileError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Due => {
                    let path = this.path.clone();
                    let reading = tokio::task::spawn_blocking(move || read(&path));
                    this.state = State::Reading(reading);
                }
                State::Resting(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    this.state = State::Due;
                }
                State::Reading(reading) => {
                    let read = ready!(Pin::new(reading).poll(cx));
                    this.state = State::Resting(Box::pin(this.clock.sleep(this.period)));
                    let text = read.unwrap_or_else(|error| Err(io::Error::other(error)));
                    let known = text.as_ref().ok().map(String::as_str);
                    if !this.changes.are_settled(known) {
                        continue;
                    }
                    let path = || this.path.to_path_buf();
                    let update = match text {
                        Ok(text) => parse(&text, this.format)
                            .map(Update::Full)
                            .map_err(|error| error.in_file(path())),
                        Err(error) => Err(FileError::unread(path(), error)),
                    };
                    return Poll::Ready(Some(update));
                }
            }
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > BYTES_MAX {
        let message = format!("the file is longer than {BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

impl<A> fmt::Debug for FileWatch<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWatch")
            .field("path", &self.path)
            .field("format", &self.format)
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}
