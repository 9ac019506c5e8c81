//! Dates and durations as JSON bodies write them: ISO-8601 in UTC, and `90s`, `5m`, `1h30m`, `7d`.

use std::time::Duration;

use turnkeep_host::Timestamp;

const MS_PER_DAY: u64 = 86_400_000;

/// Writes a moment as `2026-08-22T10:20:30.123Z`.
pub(crate) fn format(at: Timestamp) -> String {
    let (days, ms) = (at.as_millis() / MS_PER_DAY, at.as_millis() % MS_PER_DAY);
    let (year, month, day) = civil(days);
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Reads a moment from 1970 on: a date, or a date and a time with `Z` or an offset.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let mut parts = date.split('-');
    let (year, month, day) = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() || year < 1970 || !(1..=12).contains(&month) || day < 1 || day > month_days(year, month) {
        return None;
    }
    let (clock, offset_minutes) = split_offset(time)?;
    let clock_ms = clock_ms(clock)?;
    let ms = i64::try_from(days(year, month, day) * MS_PER_DAY + clock_ms).ok()? - offset_minutes * 60_000;
    u64::try_from(ms).ok().map(Timestamp::from_millis)
}

/// Reads a duration: whole numbers with the units `w`, `d`, `h`, `m`, `s`, each once at most and in this order.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(char, u64); 5] = [('w', 604_800), ('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];
    let (mut rest, mut units, mut seconds) = (text, &UNITS[..], 0_u64);
    if text.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let at = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let unit = rest[at..].chars().next()?;
        let place = units.iter().position(|(name, _)| *name == unit)?;
        let part = rest[..at].parse::<u64>().ok()?.checked_mul(units[place].1)?;
        seconds = seconds.checked_add(part)?;
        (rest, units) = (&rest[at + unit.len_utf8()..], &units[place + 1..]);
    }
    Some(Duration::from_secs(seconds))
}

fn digits(text: &str, len: usize) -> Option<u64> {
    let plain = text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Splits `10:20:30+02:00` into the clock and the offset in minutes.
fn split_offset(time: &str) -> Option<(&str, i64)> {
    if let Some(clock) = time.strip_suffix('Z') {
        return Some((clock, 0));
    }
    let at = time.rfind(['+', '-'])?;
    let (clock, offset) = time.split_at(at);
    let (hours, minutes) = offset[1..].split_once(':')?;
    let minutes = i64::try_from(digits(hours, 2)? * 60 + digits(minutes, 2)?).ok()?;
    Some((clock, if offset.starts_with('-') { -minutes } else { minutes }))
}

fn clock_ms(clock: &str) -> Option<u64> {
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = whole.split(':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let second = parts.next().map_or(Some(0), |second| digits(second, 2))?;
    let plain = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 || !plain {
        return None;
    }
    let ms = format!("{fraction:0<3}")[..3].parse::<u64>().ok()?;
    Some(((hour * 60 + minute) * 60 + second) * 1000 + ms)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counts the days from 1970-01-01 to a date.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    years + (1..month).map(|month| month_days(year, month)).sum::<u64>() + day - 1
}

/// Gives the date that lies `days` after 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let mut year = 1970 + days / 366;
    while self::days(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut left = days - self::days(year, 1, 1);
    let mut month = 1;
    while left >= month_days(year, month) {
        left -= month_days(year, month);
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_and_read_back() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_868_799_000, "2000-02-29T23:59:59.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(format(Timestamp::from_millis(ms)), text);
            assert_eq!(parse(text), Some(Timestamp::from_millis(ms)), "{text}");
        }
    }

    #[track_caller]
    fn check(text: &str, want: Option<u64>) {
        assert_eq!(parse(text), want.map(Timestamp::from_millis), "{text}");
    }

    #[test]
    fn what_other_clients_write_is_read_too() {
        check("2023-11-14T22:13:20Z", Some(1_700_000_000_000));
        check("2023-11-15T00:13:20+02:00", Some(1_700_000_000_000));
        check("2023-11-14T20:13:20.5-02:00", Some(1_700_000_000_500));
        check("2023-11-14", Some(1_699_920_000_000));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "soon",
            "2023-02-29",
            "2023-13-01",
            "2023-00-10",
            "2023-11-14T24:00:00Z",
            "2023-11-14T22:13:20",
            "1969-12-31",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn durations_are_numbers_with_units_in_order_s133_s140() {
        for (text, seconds) in [
            ("90s", 90),
            ("5m", 300),
            ("1h", 3600),
            ("7d", 604_800),
            ("2w", 1_209_600),
            ("1h30m", 5400),
            ("1w1d1h1m1s", 694_861),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "5", "m", "-5m", "5 m", "1.5h", "5M", "ü", "5ü", "1m1h", "1m1m", "1h5", "99999999999999999999s"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
