//! The id that a producer gives each message, `UNIQ_KEY`, in the form that Java's tools take apart.
//!
//! ```text
//! | ip: 4 or 16 | process id: 2 | which producer: 4 | ms since the month began: 4 | counter: 2 |   as hex digits
//! ```
//!
//! Tools that look for a message by this id start at the time in it, reading the month in *their* time zone, and never
//! find what is older. So the month is counted from when it has begun everywhere, twelve hours after it has in UTC: a
//! reader then takes the message for up to a day older than it is, and never for younger.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// Makes ids that differ from each other and from those of any other producer.
#[doc(alias = "MessageClientIDSetter")]
pub(crate) struct UniqueKeys {
    /// Hex digits of address, process and producer.
    prefix: String,
    counter: AtomicU32,
}

impl UniqueKeys {
    /// `started`, in milliseconds since 1970, tells producers of one process apart.
    pub(crate) fn new(ip: IpAddr, process_id: u32, started: i64) -> UniqueKeys {
        static PRODUCERS: AtomicU32 = AtomicU32::new(0);
        let number = PRODUCERS.fetch_add(1, Ordering::Relaxed);
        let which = (started as u32).wrapping_add(number.wrapping_mul(0x9E37_79B9));
        let mut prefix = String::with_capacity(44);
        match ip {
            IpAddr::V4(ip) => push_hex(&mut prefix, &ip.octets()),
            IpAddr::V6(ip) => push_hex(&mut prefix, &ip.octets()),
        }
        push_hex(&mut prefix, &(process_id as u16).to_be_bytes());
        push_hex(&mut prefix, &which.to_be_bytes());
        UniqueKeys { prefix, counter: AtomicU32::new(0) }
    }

    /// The next one; `now` is in milliseconds since 1970.
    pub(crate) fn next(&self, now: i64) -> String {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed) as u16;
        let mut key = String::with_capacity(self.prefix.len() + 12);
        key.push_str(&self.prefix);
        push_hex(&mut key, &((now - month_start(now)) as u32).to_be_bytes());
        push_hex(&mut key, &counter.to_be_bytes());
        key
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02X}");
    }
}

/// When the month of `now` had begun everywhere, milliseconds since 1970.
fn month_start(now: i64) -> i64 {
    let day = (now - 12 * HOUR).div_euclid(DAY);
    (day - i64::from(day_of_month(day)) + 1) * DAY + 12 * HOUR
}

/// 1 to 31, of a day counted from 1970-01-01, by the calendar whose years begin in March and eras have 400 years.
fn day_of_month(day: i64) -> u32 {
    let day_of_era = (day + 719_468).rem_euclid(146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    (day_of_year - (153 * month + 2) / 5 + 1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_form_that_tools_take_apart() {
        // 2026-11-20T13:01:02.003Z
        let now = 1_795_179_662_003;
        let keys = UniqueKeys::new([10, 0, 0, 7].into(), 0x1_2345, 0);
        let (first, second) = (keys.next(now), keys.next(now));
        assert_eq!(first.len(), 32);
        assert_eq!(
            (&first[..12], &first[20..28]),
            ("0A0000072345", format!("{:08X}", now - month_start(now)).as_str())
        );
        assert_eq!((&first[28..], &second[28..]), ("0000", "0001"));
        let v6 = UniqueKeys::new("::1".parse().unwrap(), 1, 0).next(now);
        assert_eq!(v6.len(), 56);
    }

    #[test]
    fn producers_of_one_process_never_make_the_same_key() {
        let [one, other] = [(); 2].map(|()| UniqueKeys::new([127, 0, 0, 1].into(), 1, 5));
        assert_ne!(one.next(1), other.next(1));
    }

    #[test]
    fn the_month_starts_at_noon_of_its_first_day() {
        let noon = |day: i64| day * DAY + 12 * HOUR;
        // 2024-02-29, 2024-03-01, 1970-01-01, 2000-12-31: days since 1970 and the day their month began.
        for (day, first) in [(19_782, 19_754), (19_783, 19_783), (0, 0), (11_322, 11_292)] {
            assert_eq!(month_start(noon(day)), noon(first), "{day}");
            assert_eq!(month_start(noon(day) + DAY - 1), noon(first), "{day}");
        }
        // The morning of the first day still belongs to the month before.
        assert_eq!(month_start(noon(19_783) - 1), noon(19_754));
    }
}
