/// What a limiter that gets new numbers keeps of what is left and what is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Inherit {
    /// As much is left as before, up to the new limit: 70 of 100 becomes 70 of 200, and 20 of 20.
    #[default]
    Keep,
    /// The same part is left: 70 of 100 becomes 140 of 200.
    Proportional,
    /// As much is used as before, so what the limit grows by is there at once: 70 of 100 becomes
    /// 170 of 200.
    Additive,
    /// Nothing is used: 70 of 100 becomes 200 of 200. Debts are forgiven.
    Reset,
}

impl Inherit {
    /// What is used of `new`, where `used` was of `old`.
    pub(crate) fn used(self, used: u64, old: u64, new: u64) -> u64 {
        match self {
            Self::Keep if new >= old => used.saturating_add(new - old),
            Self::Keep => used.saturating_sub(old - new),
            Self::Proportional => {
                let used = (u128::from(used) * u128::from(new)).div_ceil(old.into());
                u64::try_from(used).unwrap_or(u64::MAX)
            }
            Self::Additive => used,
            Self::Reset => 0,
        }
    }
}
