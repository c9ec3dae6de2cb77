use std::time::Duration;

/// Reads a duration from the command line: a whole number and `ms`, `s`, `m` or `h`, as in the
/// configuration.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let expected = || "expected a whole number and ms, s, m or h, such as 10s".to_owned();
    let unit = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(unit.ok_or_else(expected)?);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(expected()),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    let millis = number.checked_mul(millis).ok_or_else(expected)?;
    Ok(Duration::from_millis(millis))
}
