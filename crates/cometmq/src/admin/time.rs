//! Times as operators write them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::time::Duration;

/// A time in ms since 1970: such a number, `now`, so long ago (`-90s`, `-30m`, `-2h`, `-3d`), mqadmin's
/// `2026-11-21#10:00:00:000`, or `2026-11-21T10:00:00` in the local time zone.
pub fn millis(text: &str) -> Result<i64, String> {
    if let Ok(millis) = text.parse::<i64>() {
        return Ok(millis);
    }
    if text == "now" {
        return Ok(jiff::Timestamp::now().as_millisecond());
    }
    if let Some(ago) = text.strip_prefix('-') {
        let ago = span(ago).ok_or_else(|| bad(text))?;
        return Ok(jiff::Timestamp::now().as_millisecond() - ago);
    }
    let iso = match text.split_once('#') {
        Some((day, time)) => {
            let (time, millis) = match time.matches(':').count() {
                3 => time.rsplit_once(':').unwrap_or((time, "0")),
                _ => (time, "0"),
            };
            format!("{day}T{time}.{millis:0>3}")
        }
        None => text.to_owned(),
    };
    let time: DateTime = iso.parse().map_err(|_| bad(text))?;
    let time = time.to_zoned(TimeZone::system()).map_err(|_| bad(text))?;
    Ok(time.timestamp().as_millisecond())
}

fn bad(text: &str) -> String {
    format!("`{text}` is no time: write ms since 1970, `now`, `-2h` for two hours ago, or 2026-11-21#10:00:00:000")
}

fn span(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let number: i64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return None,
    };
    number.checked_mul(seconds)?.checked_mul(1000)
}

/// A span in seconds, from 0.1 on.
pub fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("`{text}` is no number of seconds from 0.1 to 86400")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_operators_write_them() {
        assert_eq!(millis("1700000000000"), Ok(1_700_000_000_000));
        assert_eq!(millis("-1"), Ok(-1), "mqadmin's \"to the end\"");
        let day = millis("2026-11-21#10:00:00:007").unwrap();
        assert_eq!(millis("2026-11-21T10:00:00.007"), Ok(day));
        assert_eq!(millis("2026-11-21#10:00:00"), Ok(day - 7));
        let now = millis("now").unwrap();
        assert!((millis("-2h").unwrap() - (now - 7_200_000)).abs() < 5000);
        for bad in ["someday", "-2y", "-h", "2026-13-01T00:00:00", "-99999999999999999999d"] {
            assert!(millis(bad).is_err(), "{bad}");
        }
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(seconds("0").is_err() && seconds("nan").is_err());
    }
}
