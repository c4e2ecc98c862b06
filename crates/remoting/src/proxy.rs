//! The PROXY protocol, versions 1 and 2: what a proxy says in front of a connection, about who is behind it.
//!
//! It is believed only of configured addresses (`Entrance::proxies`), and of those it is wanted: who guesses whether a header is
//! there lets clients write one of their own through a proxy that does not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// A line of version 1 is not longer, its end included.
const LINE_MAX: usize = 107;

/// A header of version 2 may carry more than we care for (TLVs), but not without end.
const V2_MAX: usize = 16 + 4096;

/// What the first bytes of a proxy's connection say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// More has to arrive.
    Incomplete,
    /// So many bytes are the header.
    Whole {
        /// Its size.
        length: usize,
        /// Whom the proxy speaks for; `None`: for itself, or it does not say.
        client: Option<SocketAddr>,
    },
}

/// It is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no PROXY protocol header, which is wanted from this address (proxyProtocolFrom)")]
pub struct NoHeader;

/// Reads the header at the start of `bytes`.
pub fn read(bytes: &[u8]) -> Result<Header, NoHeader> {
    let starts = |with: &[u8]| {
        let length = bytes.len().min(with.len());
        bytes[..length] == with[..length]
    };
    if starts(&SIGNATURE) {
        version_2(bytes)
    } else if starts(b"PROXY ") {
        version_1(bytes)
    } else {
        Err(NoHeader)
    }
}

fn version_1(bytes: &[u8]) -> Result<Header, NoHeader> {
    let line = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
        return if line.len() < LINE_MAX { Ok(Header::Incomplete) } else { Err(NoHeader) };
    };
    let text = std::str::from_utf8(&line[..end]).map_err(|_| NoHeader)?;
    let words: Vec<&str> = text.split(' ').collect();
    let client = match words[..] {
        // What follows is not to be looked at.
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", "TCP4", source, target, port, to] => Some(client::<Ipv4Addr>(source, target, port, to)?),
        ["PROXY", "TCP6", source, target, port, to] => Some(client::<Ipv6Addr>(source, target, port, to)?),
        _ => return Err(NoHeader),
    };
    Ok(Header::Whole { length: end + 2, client })
}

fn client<A: std::str::FromStr + Into<IpAddr>>(
    source: &str,
    target: &str,
    port: &str,
    to: &str,
) -> Result<SocketAddr, NoHeader> {
    let address = |text: &str| text.parse::<A>().map(Into::into).map_err(|_| NoHeader);
    // Digits only: `parse` takes a sign, too.
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u16>().map_err(|_| NoHeader),
        false => Err(NoHeader),
    };
    let (_, _) = (address(target)?, number(to)?);
    Ok(SocketAddr::new(address(source)?, number(port)?))
}

fn version_2(bytes: &[u8]) -> Result<Header, NoHeader> {
    let Some((head, rest)) = bytes.split_first_chunk::<16>() else { return Ok(Header::Incomplete) };
    let (command, family) = (head[12], head[13]);
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if command >> 4 != 2 || 16 + length > V2_MAX {
        return Err(NoHeader);
    }
    if rest.len() < length {
        return Ok(Header::Incomplete);
    }
    let addresses = &rest[..length];
    let client = match (command & 15, family >> 4) {
        // The proxy itself, which looks whether we are well.
        (0, _) => None,
        (1, 1) => {
            let (source, _) = addresses.split_first_chunk::<4>().ok_or(NoHeader)?;
            let port = addresses.get(8..12).ok_or(NoHeader)?;
            Some(SocketAddr::new(Ipv4Addr::from(*source).into(), u16::from_be_bytes([port[0], port[1]])))
        }
        (1, 2) => {
            let (source, _) = addresses.split_first_chunk::<16>().ok_or(NoHeader)?;
            let port = addresses.get(32..36).ok_or(NoHeader)?;
            Some(SocketAddr::new(Ipv6Addr::from(*source).into(), u16::from_be_bytes([port[0], port[1]])))
        }
        // Families that have no addresses of this kind: a socket in the file system, or none that is told.
        (1, 0 | 3) => None,
        _ => return Err(NoHeader),
    };
    Ok(Header::Whole { length: 16 + length, client })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> (usize, Option<String>) {
        // A header that comes byte by byte says nothing before it is whole, and then the same.
        for end in 1..bytes.len() {
            if let Ok(Header::Whole { length, .. }) = read(&bytes[..end]) {
                assert!(length <= end);
                break;
            }
            assert_eq!(read(&bytes[..end]), Ok(Header::Incomplete), "{end} bytes");
        }
        match read(bytes).unwrap() {
            Header::Whole { length, client } => (length, client.map(|client| client.to_string())),
            Header::Incomplete => panic!("not whole"),
        }
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((addresses.len() as u16).to_be_bytes());
        bytes.extend(addresses);
        bytes
    }

    #[test]
    fn version_1_tells_who_is_behind_the_proxy() {
        let line = b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 10911\r\n";
        assert_eq!(whole(line), (line.len(), Some("203.0.113.7:51234".into())));
        let line = b"PROXY TCP6 2001:db8::7 2001:db8::1 51234 10911\r\n\0\0\0";
        assert_eq!(whole(line), (line.len() - 3, Some("[2001:db8::7]:51234".into())));
        assert_eq!(whole(b"PROXY UNKNOWN\r\n"), (15, None));
        assert_eq!(whole(b"PROXY UNKNOWN what ever\r\n"), (25, None));
    }

    #[test]
    fn version_2_tells_it_too() {
        let ipv4 = v2(0x21, 0x11, &[203, 0, 113, 7, 10, 0, 0, 1, 0xC8, 0x22, 0x2A, 0x9F, 3, 0, 1, 9]);
        assert_eq!(whole(&ipv4), (32, Some("203.0.113.7:51234".into())));
        let mut addresses = [0; 36];
        addresses[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        addresses[32..34].copy_from_slice(&51_234u16.to_be_bytes());
        assert_eq!(whole(&v2(0x21, 0x21, &addresses)).1, Some("[2001:db8::7]:51234".into()));
        assert_eq!(whole(&v2(0x20, 0, &[])), (16, None), "LOCAL");
        assert_eq!(whole(&v2(0x21, 0x31, &[0; 216])).1, None, "a socket in the file system");
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for bytes in [
            &b"\0\0\0\x70"[..],
            b"\x16\x03\x01",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 99999 2\r\n",
            b"PROXY TCP4 ::1 ::2 1 2\r\n",
            b"PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
            b"PROXYTCP4",
            &[b"PROXY TCP4 ".as_slice(), &[b'1'; 100]].concat(),
            &v2(0x11, 0x11, &[0; 12]),
            &v2(0x22, 0x11, &[0; 12]),
            &v2(0x21, 0x11, &[0; 11]),
            &v2(0x21, 0x21, &[0; 35]),
            &v2(0x21, 0x11, &[0; 5000])[..16],
        ] {
            assert_eq!(read(bytes), Err(NoHeader), "{bytes:?}");
        }
    }
}
