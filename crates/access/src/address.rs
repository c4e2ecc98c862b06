//! Addresses, as rules name them.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// A range of addresses as rules have it: one address, or `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
    /// It was written with its prefix.
    written: bool,
}

impl Network {
    /// Reads `address` or `address/prefix`.
    pub fn parse(text: &str) -> Option<Network> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length = match prefix {
            // Digits only: `parse` takes a sign.
            Some(text) if !text.bytes().all(|byte| byte.is_ascii_digit()) => return None,
            Some(text) => text.parse().ok().filter(|length| *length <= bits)?,
            None => bits,
        };
        Some(Network { address, prefix: length, written: prefix.is_some() })
    }

    /// Is `address` in it? An IPv4 address that came over IPv6 counts as what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                // `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
                let prefix = if self.address.is_ipv4() { self.prefix } else { self.prefix.saturating_sub(96) };
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                u32::from(network) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                u128::from(network) & mask == u128::from(address) & mask
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.written {
            true => write!(f, "{}/{}", self.address, self.prefix),
            false => write!(f, "{}", self.address),
        }
    }
}

/// Addresses as `plain_acl.yml` has them: `*`, `192.168.0.*`, `192.168.1-5.*`, `192.168.0.{1,2}`, several parted by commas.
#[doc(alias = "RemoteAddressStrategy")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pattern(Vec<One>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum One {
    Everywhere,
    V4([RangeInclusive<u16>; 4]),
    V6([RangeInclusive<u16>; 8]),
}

impl Pattern {
    /// Reads it; blank text is nowhere. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let text = text.trim();
        let bad = || format!("`{}` is no address like 10.0.0.1, 10.0.0.*, 10.0.1-5.*, 10.0.0.{{1,2}}", short(text));
        if text.is_empty() {
            return Ok(Pattern::default());
        }
        if let Some((head, last)) = text.strip_suffix('}').and_then(|text| text.split_once('{')) {
            if !head.ends_with(['.', ':']) {
                return Err(bad());
            }
            let ones = last.split(',').map(|last| One::parse(&format!("{head}{}", last.trim())));
            return ones.collect::<Option<Vec<_>>>().map(Pattern).ok_or_else(bad);
        }
        text.split(',').map(|one| One::parse(one.trim())).collect::<Option<Vec<_>>>().map(Pattern).ok_or_else(bad)
    }

    /// Is `address` one of them?
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|one| match (one, address.to_canonical()) {
            (One::Everywhere, _) => true,
            (One::V4(parts), IpAddr::V4(address)) => {
                parts.iter().zip(address.octets()).all(|(range, part)| range.contains(&u16::from(part)))
            }
            (One::V6(parts), IpAddr::V6(address)) => {
                parts.iter().zip(address.segments()).all(|(range, part)| range.contains(&part))
            }
            _ => false,
        })
    }
}

impl One {
    fn parse(text: &str) -> Option<One> {
        if matches!(text, "*" | "*.*.*.*" | "*:*:*:*:*:*:*:*") {
            return Some(One::Everywhere);
        }
        if text.contains(':') { One::parse_v6(text) } else { One::parse_v4(text) }
    }

    fn parse_v4(text: &str) -> Option<One> {
        let parts = text.split('.').map(|part| range(part.trim(), 10, 255)).collect::<Option<Vec<_>>>()?;
        Some(One::V4(parts.try_into().ok()?))
    }

    fn parse_v6(text: &str) -> Option<One> {
        let part = |part: &str| range(part.trim(), 16, 0xffff);
        let side = |text: &str| match text {
            "" => Some(Vec::new()),
            _ => text.split(':').map(part).collect::<Option<Vec<_>>>(),
        };
        let parts = match text.split_once("::") {
            Some((head, tail)) => {
                let (mut head, tail) = (side(head)?, side(tail)?);
                let zeros = 8usize.checked_sub(head.len() + tail.len()).filter(|zeros| *zeros > 0)?;
                head.extend(std::iter::repeat_n(0..=0, zeros));
                head.extend(tail);
                head
            }
            None => {
                let mut parts = side(text)?;
                // `fe80:*` leaves open whatever follows.
                if text.ends_with(":*") {
                    parts.resize(8.max(parts.len()), 0..=0xffff);
                }
                parts
            }
        };
        Some(One::V6(parts.try_into().ok()?))
    }
}

/// `*`, a number, or `from-to`.
fn range(text: &str, radix: u32, max: u16) -> Option<RangeInclusive<u16>> {
    // `from_str_radix` takes a sign.
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        true => u16::from_str_radix(text, radix).ok().filter(|number| *number <= max),
        false => None,
    };
    match text.split_once('-') {
        _ if text == "*" => Some(0..=max),
        Some((from, to)) => Some(number(from)?..=number(to)?).filter(|range| !range.is_empty()),
        None => number(text).map(|one| one..=one),
    }
}

fn short(text: &str) -> String {
    text.chars().take(128).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_hold_the_addresses_behind_their_prefix() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.168.0.1", "192.168.0.1", "192.168.0.2"),
            ("0.0.0.0/0", "1.2.3.4", "::1"),
            ("fe80::/10", "fe80::1", "::1"),
            ("::1", "::1", "::2"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::ffff:11.1.1.1"),
            ("::ffff:10.0.0.0/104", "10.1.1.1", "11.1.1.1"),
        ] {
            let network = Network::parse(network).unwrap();
            assert!(network.contains(ip(inside)) && !network.contains(ip(outside)), "{network}");
        }
        for bad in ["", "10.0.0", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/", "::/129", "a", "10.0.0.1/8/8", "*"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
        assert_eq!(Network::parse("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(Network::parse("10.0.0.1").unwrap().to_string(), "10.0.0.1");
    }

    #[test]
    fn patterns_are_read_as_apache_documents_them() {
        for (pattern, inside, outside) in [
            ("192.168.0.*", "192.168.0.255", "192.168.1.0"),
            ("192.168.*.*", "192.168.7.7", "192.169.0.1"),
            ("192.168.1-5.*", "192.168.5.0", "192.168.6.0"),
            ("192.168.1-5.10-20", "192.168.1.10", "192.168.1.21"),
            ("192.168.0.{1,3}", "192.168.0.3", "192.168.0.2"),
            ("10.0.0.1, 10.0.0.9", "10.0.0.9", "10.0.0.2"),
            ("10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2"),
            ("5::7:6:1-200:*", "5::7:6:100:1", "5::7:6:201:1"),
            ("5::7:6:{1,2}", "5::7:6:2", "5::7:6:3"),
            ("fe80:*", "fe80::1", "fe81::1"),
            ("::1", "::1", "::2"),
        ] {
            let read = Pattern::parse(pattern).unwrap();
            assert!(read.contains(ip(inside)) && !read.contains(ip(outside)), "{pattern}");
        }
        for everywhere in ["*", "*.*.*.*", "*:*:*:*:*:*:*:*"] {
            let read = Pattern::parse(everywhere).unwrap();
            assert!(read.contains(ip("1.2.3.4")) && read.contains(ip("::1")));
        }
        assert!(!Pattern::parse(" ").unwrap().contains(ip("127.0.0.1")));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in
            ["1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.5-4", "1.2.3{1}", "1.2.3.{}", "1.2.3.{1", "a.b.c.d", "1.2.3.+4"]
        {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
        for bad in ["1:2", "::1::2", "1:2:3:4:5:6:7:8:9", "::g", "1,", "{", "}", "-", "1.2.3.-4", "::1:2:3:4:5:6:7:8"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
