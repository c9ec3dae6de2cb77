use std::error::Error;
use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use stanchion_core::Clock;

use crate::{entry, header};

/// How large a journal may become, and what an append promises; clones copy.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_journal::{Config, SyncPolicy};
///
/// let config = Config::new(1 << 30)?
///     .with_segment_bytes(1 << 24)?
///     .with_sync(SyncPolicy::every(1000, Duration::from_millis(50))?);
/// assert_eq!(config.max_bytes(), 1 << 30);
/// # Ok::<(), stanchion_journal::InvalidConfig>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    max_bytes: u64,
    segment_bytes: u32,
    pub(crate) sync: SyncPolicy,
    pub(crate) on_damage: OnDamage,
    pub(crate) clock: Clock,
}

/// When what was appended is forced onto the disk (`fdatasync`).
///
/// | policy | after kill -9 of the process | after a loss of power |
/// |---|---|---|
/// | `Never` | every record whose append returned | what the kernel had written by itself, maybe with holes, which opening then finds |
/// | `every(n, interval)` | every record whose append returned | every such record but the last n − 1 at most |
/// | `Always` | every record whose append returned | every record whose append returned |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncPolicy(Mode);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    Never,
    Every {
        records: NonZeroU64,
        interval: Duration,
    },
    #[default]
    Always,
}

/// What opening does about records that are damaged, or gone from the middle.
///
/// The torn end of the last segment, where a crash cut short what nobody was promised, is no
/// damage: it is cut off, and [`Recovery`](crate::Recovery) tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDamage {
    /// Opening fails with [`OpenError::Damaged`](crate::OpenError::Damaged), and changes nothing.
    #[default]
    Refuse,
    /// The journal goes on without them, and [`Recovery`](crate::Recovery) lists what is lost.
    /// Acknowledgements among it are lost too, so records may be replayed that were acknowledged.
    Skip,
}

impl Config {
    /// As small as [`segment_bytes`](Self::segment_bytes) may be.
    pub const SEGMENT_BYTES_MIN: u32 = 1 << 12;
    /// As large as [`segment_bytes`](Self::segment_bytes) may be.
    pub const SEGMENT_BYTES_MAX: u32 = 1 << 30;
    /// As large as [`max_bytes`](Self::max_bytes) may be.
    pub const MAX_BYTES_MAX: u64 = 1 << 50;

    const SEGMENT_BYTES_DEFAULT: u32 = 1 << 24;

    /// A journal of `max_bytes` at most, in segments of an eighth of that, of 16 MiB at most.
    ///
    /// # Errors
    ///
    /// `max_bytes` must be 8 KiB to 1 PiB.
    pub fn new(max_bytes: u64) -> Result<Self, InvalidConfig> {
        let min = 2 * u64::from(Self::SEGMENT_BYTES_MIN);
        if !(min..=Self::MAX_BYTES_MAX).contains(&max_bytes) {
            return Err(InvalidConfig(Problem::MaxBytes(max_bytes)));
        }
        let eighth = u32::try_from(max_bytes / 8).unwrap_or(u32::MAX);
        Ok(Self {
            max_bytes,
            segment_bytes: eighth.clamp(Self::SEGMENT_BYTES_MIN, Self::SEGMENT_BYTES_DEFAULT),
            sync: SyncPolicy::default(),
            on_damage: OnDamage::default(),
            clock: Clock::system(),
        })
    }

    /// Begins another file where records would make one longer than this. Only whole files are
    /// deleted, so small ones give room back earlier, and large ones cost fewer syncs.
    ///
    /// # Errors
    ///
    /// `segment_bytes` must be 4 KiB to 1 GiB, and at most half of
    /// [`max_bytes`](Self::max_bytes).
    pub fn with_segment_bytes(mut self, segment_bytes: u32) -> Result<Self, InvalidConfig> {
        let half = u32::try_from(self.max_bytes / 2).unwrap_or(u32::MAX);
        let max = half.min(Self::SEGMENT_BYTES_MAX);
        if !(Self::SEGMENT_BYTES_MIN..=max).contains(&segment_bytes) {
            return Err(InvalidConfig(Problem::SegmentBytes { segment_bytes, max }));
        }
        self.segment_bytes = segment_bytes;
        Ok(self)
    }

    /// What an append promises. Default: [`SyncPolicy::ALWAYS`].
    #[must_use]
    pub fn with_sync(mut self, sync: SyncPolicy) -> Self {
        self.sync = sync;
        self
    }

    /// What opening does about damage. Default: [`OnDamage::Refuse`].
    #[must_use]
    pub fn with_on_damage(mut self, on_damage: OnDamage) -> Self {
        self.on_damage = on_damage;
        self
    }

    /// By which clock the interval of [`SyncPolicy::every`] passes. Default: the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How much the files of the journal may take together. What an acknowledgement takes is
    /// reserved with its record, so a full journal can still be emptied.
    #[must_use]
    pub const fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// How long a file may become by records; acknowledgements may make it twice as long.
    #[must_use]
    pub const fn segment_bytes(&self) -> u32 {
        self.segment_bytes
    }

    /// The longest record: what fits into a segment with the heads of both.
    #[must_use]
    pub const fn record_bytes_max(&self) -> usize {
        // A segment is longer than both heads, and at most 2³⁰ bytes.
        self.segment_bytes as usize - header::LEN - entry::HEAD_LEN
    }
}

impl SyncPolicy {
    /// Nothing is synced but by [`Journal::sync`](crate::Journal::sync).
    pub const NEVER: Self = Self(Mode::Never);
    /// An append returns when its record is synced; appends at the same time share one sync.
    pub const ALWAYS: Self = Self(Mode::Always);

    /// Syncs so often that of the records whose appends returned, fewer than `records` are not
    /// synced; and in the first append that is `interval` or more after one that is not synced.
    ///
    /// Nobody syncs the last records of a burst but the next append, or who calls
    /// [`Journal::sync`](crate::Journal::sync): there is no thread that would.
    ///
    /// # Errors
    ///
    /// `records` must be positive. With 1, or an interval of 0, it is as [`ALWAYS`](Self::ALWAYS).
    pub fn every(records: u64, interval: Duration) -> Result<Self, InvalidConfig> {
        let records = NonZeroU64::new(records).ok_or(InvalidConfig(Problem::NoRecords))?;
        Ok(Self(Mode::Every { records, interval }))
    }

    pub(crate) const fn is_never(self) -> bool {
        matches!(self.0, Mode::Never)
    }

    /// How old a record may become that is not synced; `None` if age does not matter.
    pub(crate) const fn interval(self) -> Option<Duration> {
        match self.0 {
            Mode::Every { interval, .. } => Some(interval),
            Mode::Never | Mode::Always => None,
        }
    }

    /// Which record must be synced, it and all before it, when the append of `seq` returns.
    pub(crate) fn due(self, seq: u64) -> Option<u64> {
        match self.0 {
            Mode::Never => None,
            Mode::Every { records, .. } => (seq + 1).checked_sub(records.get()),
            Mode::Always => Some(seq),
        }
    }
}

/// A configuration that makes no sense; the message names the field, the value, and what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidConfig(Problem);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    MaxBytes(u64),
    SegmentBytes { segment_bytes: u32, max: u32 },
    NoRecords,
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Problem::MaxBytes(bytes) => write!(
                f,
                "max_bytes is {bytes}, must be {} to {}",
                2 * Config::SEGMENT_BYTES_MIN,
                Config::MAX_BYTES_MAX
            ),
            Problem::SegmentBytes { segment_bytes, max } => write!(
                f,
                "segment_bytes is {segment_bytes}, must be {} to {max}",
                Config::SEGMENT_BYTES_MIN
            ),
            Problem::NoRecords => f.write_str("records is 0, must be positive"),
        }
    }
}

impl Error for InvalidConfig {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let message = |result: Result<Config, InvalidConfig>| result.unwrap_err().to_string();
        for bytes in [0, 8191, (1 << 50) + 1] {
            assert_eq!(
                message(Config::new(bytes)),
                format!("max_bytes is {bytes}, must be 8192 to 1125899906842624")
            );
        }
        let config = Config::new(1 << 20).unwrap();
        for bytes in [0, 4095, (1 << 19) + 1] {
            assert_eq!(
                message(config.clone().with_segment_bytes(bytes)),
                format!("segment_bytes is {bytes}, must be 4096 to 524288")
            );
        }
        let large = Config::new(1 << 50).unwrap();
        assert!(large.with_segment_bytes((1 << 30) + 1).is_err());
        let error = SyncPolicy::every(0, Duration::ZERO).unwrap_err();
        assert_eq!(error.to_string(), "records is 0, must be positive");
    }

    #[test]
    fn segments_follow_the_whole_unless_told() {
        for (max, segment) in [(1 << 13, 1 << 12), (1 << 20, 1 << 17), (1 << 40, 1 << 24)] {
            assert_eq!(Config::new(max).unwrap().segment_bytes(), segment);
        }
    }

    #[test]
    fn what_is_due_follows_the_policy() {
        assert_eq!(SyncPolicy::NEVER.due(7), None);
        assert_eq!(SyncPolicy::ALWAYS.due(7), Some(7));
        let every = |records| SyncPolicy::every(records, Duration::MAX).unwrap().due(7);
        assert_eq!(every(1), Some(7));
        assert_eq!(every(3), Some(5));
        assert_eq!(every(8), Some(0));
        assert_eq!(every(9), None);
        assert_eq!(every(u64::MAX), None);
    }
}
